"""The report: from the files in results/ to one page and its figures."""
