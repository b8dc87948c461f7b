for (const form of document.querySelectorAll("form.filter")) {
  const rows = [...form.nextElementSibling.children];
  const [outcome, words, count] = form.elements;
  const update = () => {
    const text = words.value.toLowerCase();
    for (const row of rows) {
      const matches = row.textContent.toLowerCase().includes(text);
      row.hidden = !matches || !row.dataset.outcome.includes(outcome.value);
    }
    count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  update();
}
