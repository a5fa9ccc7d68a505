// Figures are saved as they stand on the page, in the light theme's colours, so that the page needs no file beside it.
// Without this script their links lead to the files that are written beside the page.
{
  const light = {/* colours */};

  function standalone(svg) {
    const copy = svg.cloneNode(true), [, , width, height] = svg.getAttribute("viewBox").split(" ");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    return copy.outerHTML.replace(/var\((--[\w-]+)\)/g, (whole, name) => light[name] ?? whole);
  }

  function save(link) {
    const text = standalone(link.closest("figure").querySelector("svg"));
    link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  }

  document.querySelectorAll("figure a[download]").forEach(link => link.addEventListener("click", () => save(link)));
}
