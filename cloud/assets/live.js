// Keeps the page true: listens to the stream of news while the tab is seen, and on news asks the server for this same
// page and carries the differences over. There is no second way to draw anything.

import { clock, localise, partDays } from './time.js';
import { count, text } from './texts.js';
import { Idiomorph } from './vendor/idiomorph-0.8.0.esm.js';

const STREAM = '/api/v1/live';
const GATHER_MS = 250;         // news that come together are drawn together
const SPEAK_EVERY_MS = 30_000; // one sentence for the screen reader in this time
const RETRY_MAX_MS = 30_000;
const SILENT_MAX_MS = 45_000;  // the server's beat is every 15 s; three of them missed is a dead line
const SHAPES = {
  on: '<circle cx="6" cy="6" r="5" fill="currentColor"/>',
  off: '<circle cx="6" cy="6" r="4.5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="2.6 2.1"/>',
};

const { live: way, device: onlyDevice } = document.body.dataset;
const indicator = document.getElementById('live');
const status = document.getElementById('status');
const awaited = new WeakSet(); // images whose thumbnail is being asked for

localise(document);
const days = document.getElementById('days');
if (days) { partDays(days); localise(days); }
awaitThumbnails();
setInterval(() => localise(document), 10_000);
document.addEventListener('submit', ask);
document.addEventListener('keydown', turn);
document.getElementById('device')?.addEventListener('change', (event) => event.target.form.requestSubmit());

// ---- the stream

let stream = null;
let retryMs = 1000;
let retryTimer = 0;
let lastNews = Date.now();
let lastHeard = Date.now();
let beats = false;

if (way !== 'no') {
  document.addEventListener('visibilitychange', () => (document.hidden ? rest() : wake()));
  window.addEventListener('pagehide', rest);
  window.addEventListener('pageshow', (event) => { if (event.persisted) wake(); });
  setInterval(() => { if (stream && beats && Date.now() - lastHeard > SILENT_MAX_MS) again(); }, 5000);
  if (!document.hidden) open();
  pollWhileAsked();
}

function open() {
  clearTimeout(retryTimer);
  stream?.close();
  stream = new EventSource(STREAM);
  lastHeard = Date.now();
  let lastId = '';
  stream.addEventListener('open', () => {
    retryMs = 1000;
    lastHeard = Date.now();
    show('on');
    // What happened before the line stood is not told again, so look once.
    if (way === 'redraw') redraw();
    else catchUpOffer();
  });
  stream.addEventListener('error', again);
  stream.addEventListener('beat', () => { beats = true; lastHeard = Date.now(); });
  for (const kind of ['picture', 'device']) {
    stream.addEventListener(kind, (event) => {
      lastHeard = Date.now();
      // A picture told without an id of its own is an old one that has changed, such as by its thumbnail.
      const isNew = kind === 'picture' && event.lastEventId !== lastId;
      lastId = event.lastEventId;
      try { news(kind, JSON.parse(event.data), isNew); } catch { redraw(); }
    });
  }
}

// The browser would try again by itself, but not after every kind of end, and without saying since when.
function again() {
  stream?.close();
  stream = null;
  if (document.hidden) return;
  show('off');
  clearTimeout(retryTimer);
  retryTimer = setTimeout(open, retryMs);
  // A stream does not say why it was refused; the page does.
  fetchPage();
  retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
}

function rest() {
  clearTimeout(retryTimer);
  stream?.close();
  stream = null;
}

function wake() {
  retryMs = 1000;
  open();
}

function show(state) {
  const label = state === 'on' ? text('live') : text('reconnecting', { time: clock(lastNews) });
  indicator.hidden = false;
  indicator.className = `live live-${state}`;
  indicator.innerHTML = `<svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">${SHAPES[state]}</svg>`;
  indicator.append(label);
}

// ---- news

let offered = 0;
const unspoken = new Map();
let lastSpoken = 0;
let speakTimer = 0;

function news(kind, what, isNew) {
  const device = kind === 'picture' ? what.device : what.id;
  if (onlyDevice && device !== onlyDevice) return;
  lastNews = Date.now();
  if (isNew) {
    const before = unspoken.get(device);
    unspoken.set(device, { pictures: (before?.pictures ?? 0) + 1, at: what.stored_us / 1000 });
    speakSoon();
  }
  if (way === 'redraw') redraw();
  else if (isNew) offer(offered + 1);
  else awaitThumbnails();
}

function offer(pictures) {
  offered = pictures;
  const pill = document.getElementById('news');
  if (!pill || pictures === 0) return;
  pill.textContent = pictures === 1 ? text('newPicture') : text('newPictures', { count: count(pictures) });
  pill.hidden = false;
}

// After a rest nobody counted, so count what the server has above the first tile here.
async function catchUpOffer() {
  const first = document.querySelector('#days .grid > li')?.id;
  const page = await fetchPage();
  if (!page) return;
  const keys = [...page.querySelectorAll('#days .grid > li')].map((tile) => tile.id);
  const known = first ? keys.indexOf(first) : -1;
  offer(known < 0 ? keys.length : known);
}

function speakSoon() {
  clearTimeout(speakTimer);
  speakTimer = setTimeout(speak, Math.max(1000, lastSpoken + SPEAK_EVERY_MS - Date.now()));
}

function speak() {
  const [first] = unspoken;
  if (!first) return;
  lastSpoken = Date.now();
  const pictures = [...unspoken.values()].reduce((sum, { pictures }) => sum + pictures, 0);
  const from = unspoken.size === 1 ? first[0] : text('cameras', { count: unspoken.size });
  const time = clock(first[1].at).slice(0, 5);
  unspoken.clear();
  say(text(pictures === 1 ? 'pictureFrom' : 'picturesFrom', { count: count(pictures), from, time }), false);
}

let sayTimer = 0;
function say(sentence, seen) {
  clearTimeout(sayTimer);
  status.className = `status ${seen ? 'toast' : 'hear'}`;
  status.textContent = sentence;
  sayTimer = setTimeout(() => { status.textContent = ''; }, 8000);
}

// ---- redrawing

let drawTimer = 0;
let drawing = false;
let drawAgain = false;

function redraw() {
  if (document.hidden) return;
  drawTimer ||= setTimeout(draw, GATHER_MS);
}

async function draw() {
  drawTimer = 0;
  if (drawing) { drawAgain = true; return; }
  drawing = true;
  try {
    const page = await fetchPage();
    if (!page) return;
    localise(page);
    for (const id of ['main', 'foot']) {
      const [from, to] = [document.getElementById(id), page.getElementById(id)];
      if (from && to) morph(from, to);
    }
    const [hold, held] = [document.getElementById('hold'), page.getElementById('hold')];
    if (hold && held) morph(hold, held);
    else if (hold) hold.remove();
    else if (held) document.getElementById('main').before(document.adoptNode(held));
    lastNews = Date.now();
    awaitThumbnails();
  } finally {
    drawing = false;
    if (drawAgain) { drawAgain = false; redraw(); }
  }
}

// Makes one piece of the page equal to another and touches only what differs, so that the focus, a half-typed word, a
// playing light and a loaded picture stay where they are. What a person has opened stays open.
function morph(from, to) {
  Idiomorph.morph(from, document.adoptNode(to), {
    ignoreActiveValue: true,
    callbacks: {
      beforeNodeMorphed(before, after) {
        if (before.nodeName === 'DETAILS' && after.nodeName === 'DETAILS') after.open = before.open;
      },
    },
  });
}

async function fetchPage() {
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(15_000) });
    // The session is over: the page that says so is the true one.
    if (answer.redirected && new URL(answer.url).pathname !== location.pathname) location.assign(answer.url);
    if (!answer.ok) return null;
    return new DOMParser().parseFromString(await answer.text(), 'text/html');
  } catch {
    return null; // The line is down; the indicator says so, and the next news brings another try.
  }
}

// While a command is under way, its steps are asked for: not each of them is news to the stream.
function pollWhileAsked() {
  setInterval(() => { if (document.querySelector('main [data-poll]')) redraw(); }, 1000);
}

// A thumbnail that was not made yet when the page was.
function awaitThumbnails() {
  for (const image of document.querySelectorAll('img[data-src]')) {
    if (!awaited.has(image)) { awaited.add(image); tryThumbnail(image, 1000); }
  }
}

function tryThumbnail(image, waitMs) {
  // Gone, or redrawn with its thumbnail, while this waited.
  if (!image.isConnected || !image.dataset.src) { awaited.delete(image); return; }
  const trial = new Image();
  trial.onload = () => {
    awaited.delete(image);
    image.src = trial.src;
    image.removeAttribute('data-src');
    image.hidden = false;
  };
  trial.onerror = () => {
    if (waitMs < 60_000) setTimeout(() => tryThumbnail(image, waitMs * 2), waitMs);
    else awaited.delete(image);
  };
  trial.src = image.dataset.src;
}

// ---- asking a camera for something

async function ask(event) {
  const form = event.target;
  const { device } = form.dataset;
  const button = event.submitter;
  if (!device || !button) return;
  event.preventDefault();
  const command = button.value;
  if (button.dataset.busy) return;
  const words = button.textContent;
  button.style.minWidth = `${button.offsetWidth}px`;
  button.dataset.busy = 'yes';
  button.textContent = text('sending');
  try {
    const answer = await fetch(form.action, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ command }),
      signal: AbortSignal.timeout(15_000),
    });
    if (answer.ok) {
      say(text(command, { camera: device }), true);
    } else {
      // The API answers in English only.
      const { detail } = document.documentElement.lang === 'en' ? await answer.json().catch(() => ({})) : {};
      say(detail ?? text('failed', { status: answer.status }), true);
    }
  } catch {
    say(text('noResponse'), true);
  } finally {
    button.textContent = words;
    button.style.minWidth = '';
    delete button.dataset.busy;
    redraw();
  }
}

// ---- keys: left and right turn pages, unless a key is being typed into something

function turn(event) {
  const side = { ArrowLeft: 'prev', ArrowRight: 'next' }[event.key];
  if (!side || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest('input, select, textarea, .scroll')) return;
  document.querySelector(`main a[rel="${side}"]`)?.click();
}
