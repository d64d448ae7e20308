// The map of a notebook: its legend and opacity. Names of classes are text, never HTML.
// Without Leaflet, which folium takes from a server, the two images lie on each other and do not move.
function segearthLegend(content, setOpacity) {
  const box = document.createElement("div");
  box.style.cssText = "background:rgba(255,255,255,.92);color:#222;padding:.6em .8em;border-radius:6px;" +
    "font:13px/1.5 system-ui,sans-serif;box-shadow:0 1px 5px rgba(0,0,0,.35);max-height:300px;overflow:auto";
  const add = (parent, kind, style, text) => {
    const element = document.createElement(kind);
    element.style.cssText = style;
    element.textContent = text;
    parent.appendChild(element);
    return element;
  };
  add(box, "div", "font-weight:600;max-width:18em;overflow-wrap:anywhere", content.title);
  for (const row of content.rows) {
    const line = add(box, "div", "display:flex;gap:.5em;align-items:center", "");
    add(line, "span", "flex:none;width:1em;height:1em;border:1px solid #8886;background:" + row.colour, "");
    add(line, "span", "flex:1;max-width:14em;overflow-wrap:anywhere", row.name);
    add(line, "span", "font-variant-numeric:tabular-nums;white-space:nowrap;margin-left:.6em", row.share);
  }
  const label = add(box, "label", "display:flex;gap:.5em;align-items:center;margin-top:.4em", "opacity");
  const slider = add(label, "input", "flex:1;min-width:6em", "");
  Object.assign(slider, { type: "range", min: 0, max: 100, value: 100 * content.opacity });
  slider.addEventListener("input", () => setOpacity(slider.value / 100));
  setOpacity(content.opacity);
  return box;
}

function segearthShow(map, layers) {
  layers.forEach((layer, number) => layer.setUrl(segearth.images[number]));
  const control = L.control({ position: "bottomright" });
  control.onAdd = () => {
    const box = segearthLegend(segearth, (opacity) => layers[layers.length - 1].setOpacity(opacity));
    L.DomEvent.disableClickPropagation(box);
    L.DomEvent.disableScrollPropagation(box);
    return box;
  };
  control.addTo(map);
}

document.addEventListener("DOMContentLoaded", () => {
  if (typeof L !== "undefined") {
    return;
  }
  const side = document.createElement("div");
  side.style.cssText = "position:relative;width:100%;height:100%";
  const layers = segearth.images.map((address) => {
    const image = new Image();
    image.src = address;
    image.alt = "";
    image.style.cssText = "position:absolute;width:100%;height:100%;object-fit:contain;image-rendering:pixelated";
    side.appendChild(image);
    return image;
  });
  const legend = segearthLegend(segearth, (opacity) => { layers[layers.length - 1].style.opacity = opacity; });
  legend.style.cssText += ";position:absolute;right:10px;bottom:10px";
  legend.appendChild(document.createElement("div")).textContent = "Offline: the map does not move.";
  side.appendChild(legend);
  document.body.replaceChildren(side);
});
