// Makes one piece of the page equal to another and touches only what differs, so that the focus, a half-typed word, a
// playing light and a loaded picture stay where they are.

const keyOf = (node) => node.nodeType === Node.ELEMENT_NODE ? (node.id || node.dataset.key || null) : null;
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

export function morph(from, to) {
  // What a person has opened stays open.
  if (from.nodeName === 'DETAILS' && alike(from, to)) to.open = from.open;
  if (from.isEqualNode(to)) return;
  if (!alike(from, to)) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  morphChildren(from, to);
}

function morphChildren(from, to) {
  const keyed = new Map();
  for (const child of from.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let here = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = keyOf(wanted);
    const known = key === null ? null : keyed.get(key);
    if (known && alike(known, wanted)) {
      // What stands between goes on before it, or away at the end.
      if (known === here) here = here.nextSibling;
      else from.insertBefore(known, here);
      keyed.delete(key);
      morph(known, wanted);
    } else if (key === null && here && keyOf(here) === null && alike(here, wanted)) {
      const next = here.nextSibling;
      morph(here, wanted);
      here = next;
    } else {
      from.insertBefore(wanted, here);
    }
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}
