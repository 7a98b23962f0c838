"use strict";
// The page is whole without this: it only switches the map, hides policies and reads values back.
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (query, within = document) => [...within.querySelectorAll(query)];

  // --- policies on and off, in every chart at once
  const hidden = new Set();
  for (const button of all(".legend button")) {
    const policy = button.dataset.policy;
    button.addEventListener("click", () => {
      if (!hidden.delete(policy)) hidden.add(policy);
      button.setAttribute("aria-pressed", String(!hidden.has(policy)));
      for (const line of all(".chart .line")) line.classList.toggle("off", hidden.has(line.dataset.policy));
    });
    const emphasise = (on) => {
      for (const chart of all(".chart")) {
        chart.classList.toggle("dimmed", on);
        for (const line of all(".line", chart)) line.classList.toggle("lit", on && line.dataset.policy === policy);
      }
    };
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => emphasise(true));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => emphasise(false));
  }

  // --- read values of a chart at the pointer, from the drawing itself
  const tip = byId("tip");
  const points = (line) => line.getAttribute("d").slice(1).split("L").map((p) => p.split(",").map(Number));
  const spellTime = (ms) => (ms < 1000 ? ms.toPrecision(3) + " ms" : (ms / 1000).toPrecision(3) + " s");
  const spellHour = (h) => Math.floor(h) + ":" + String(Math.floor((h % 1) * 60)).padStart(2, "0");
  const spell = (value, kind) =>
    kind === "share" ? (100 * value).toFixed(1) + "%" : Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 }).format(value);
  for (const chart of all(".chart")) {
    const [across, kind, ...ends] = chart.dataset.ends.split(" ");
    const [xLow, xHigh, xStart, xEnd, yLow, yHigh, yStart, yEnd] = ends.map(Number);
    const lines = all(".line", chart).map((line) => ({ line, at: points(line) }));
    const rule = document.createElementNS("http://www.w3.org/2000/svg", "path");
    rule.setAttribute("class", "rule");
    chart.append(rule);
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const width = chart.viewBox.baseVal.width;
      const x = Math.min(Math.max(((event.clientX - box.left) / box.width) * width, xStart), xEnd);
      const part = (x - xStart) / (xEnd - xStart);
      const value = across === "ms" ? xLow * (xHigh / xLow) ** part : xLow + part * (xHigh - xLow);
      rule.setAttribute("d", `M${x} ${yEnd}V${yStart}`);
      tip.replaceChildren(document.createElement("b"));
      tip.firstChild.textContent = across === "ms" ? spellTime(value) : spellHour(value);
      for (const { line, at } of lines) {
        if (hidden.has(line.dataset.policy)) continue;
        const row = document.createElement("span");
        const y = heightAt(at, x);
        const read = yLow + ((y - yStart) / (yEnd - yStart)) * (yHigh - yLow);
        row.className = line.getAttribute("class").replace("line", "swatch-row");
        row.textContent = `${line.dataset.policy} ${spell(read, kind)}`;
        tip.append(row);
      }
      tip.hidden = false;
      const left = event.clientX + 16 + tip.offsetWidth < innerWidth ? event.clientX + 16 : event.clientX - 16 - tip.offsetWidth;
      tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 4)}px)`;
    });
    chart.addEventListener("pointerleave", () => { tip.hidden = true; rule.removeAttribute("d"); });
  }
  function heightAt(at, x) {
    if (x <= at[0][0]) return at[0][1];
    const next = at.findIndex((p) => p[0] >= x);
    if (next < 0) return at.at(-1)[1];
    const [a, b] = [at[next - 1], at[next]];
    return b[0] === a[0] ? b[1] : a[1] + ((x - a[0]) / (b[0] - a[0])) * (b[1] - a[1]);
  }

  // --- the map
  const stored = byId("map-data");
  if (!stored) return;
  const { regions, figures } = JSON.parse(stored.textContent);
  const marks = all("#map .region");
  const read = byId("map-read");
  const show = () => {
    const figure = figures[byId("map-figure").value];
    const shown = figure.policies[byId("map-policy").value];
    byId("map-low").textContent = figure.low;
    byId("map-high").textContent = figure.high;
    marks.forEach((mark, i) => {
      const step = shown ? shown.steps[i] : -1;
      const text = `${regions[i]}: ${shown ? shown.texts[i] : "–"}`;
      mark.querySelector("circle").setAttribute("class", "s" + step);
      mark.querySelector("text")?.setAttribute("class", "t" + step);
      mark.querySelector("title").textContent = text;
      mark.onpointerenter = mark.onfocus = () => { read.textContent = text; };
    });
    rank(shown);
  };
  const rank = (shown) => {
    const order = regions.map((_, i) => i).sort((a, b) => (shown ? shown.order[b] - shown.order[a] : 0));
    const ends = order.length > 12 ? [...order.slice(0, 5), -1, ...order.slice(-5)] : order;
    byId("map-rank").replaceChildren(...(shown ? ends : []).map((i) => {
      const row = document.createElement("tr");
      const cells = i < 0 ? ["⋮", ""] : [regions[i], shown.texts[i]];
      row.append(...cells.map((text, k) => {
        const cell = document.createElement(k ? "td" : "th");
        cell.textContent = text;
        return cell;
      }));
      return row;
    }));
  };
  for (const id of ["map-figure", "map-policy"]) byId(id).addEventListener("change", show);
  show();
})();
