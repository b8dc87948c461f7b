"""Where rows come from: the hub, packages, addresses, files; and how files become rows."""
