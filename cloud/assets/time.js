// Writes every <time> in the time zone of the browser and the language of the page. The server wrote UTC, and names the
// format in `data-as`.

import { text } from './texts.js';

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const LANGUAGE = { en: 'en-GB' }[document.documentElement.lang] ?? document.documentElement.lang;
const formats = (options, language = LANGUAGE) =>
  new Intl.DateTimeFormat(language, { timeZone: ZONE, hourCycle: 'h23', ...options });
// The digits of a clock are the same in every language.
const CLOCK = formats({ hour: '2-digit', minute: '2-digit', second: '2-digit' }, 'en-GB');
const TENTHS = formats({ hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 1 }, 'en-GB');
const SHORT = formats({ hour: '2-digit', minute: '2-digit' }, 'en-GB');
const DATE = formats({ weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });
const DAY = formats({ weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
const DAY_MONTH = formats({ day: 'numeric', month: 'short' });
const DAY_MONTH_YEAR = formats({ day: 'numeric', month: 'short', year: 'numeric' });

// A comma after the weekday is the locale's; the page writes none.
const plain = (date) => date.replaceAll(',', '');

export const clock = (at) => CLOCK.format(at);
export const dayOf = (at) => plain(DAY.format(at));

// The same words as `format_duration` on the server, from one second up.
export function duration(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000);
  const min = Math.floor(s / 60);
  const h = Math.floor(min / 60);
  if (s === 0) return text('ms', { ms: 0 });
  if (s < 10) return text('s', { s: `${s}.0` });
  if (s < 60) return text('s', { s });
  if (s < 3600) return text('min', { min });
  if (s < 172800) return min % 60 === 0 ? text('h', { h }) : text('hMin', { h, min: min % 60 });
  return text('days', { days: Math.floor(h / 24) });
}

function near(at, base) {
  if (dayOf(at) === dayOf(base)) return CLOCK.format(at);
  if (at.getFullYear() === base.getFullYear()) return `${DAY_MONTH.format(at)} ${SHORT.format(at)}`;
  return DAY_MONTH_YEAR.format(at);
}

function words(form, at, base) {
  switch (form) {
    case 'clock': return CLOCK.format(at);
    case 'tenths': return TENTHS.format(at);
    case 'full': return `${plain(DATE.format(at))} ${CLOCK.format(at)}`;
    case 'day': return dayOf(at);
    case 'near': return near(at, base);
    case 'age': return duration(Date.now() - at);
    default: return null;
  }
}

// Rewrites the times below `root`. Within a tile "near" means near to the day under which the tile stands.
export function localise(root) {
  for (const element of root.querySelectorAll('time[data-as]')) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const tile = element.closest('[data-sort]');
    const written = words(element.dataset.as, at, tile ? new Date(Number(tile.dataset.sort)) : new Date());
    if (written !== null && written !== element.textContent) element.textContent = written;
  }
}

// The server parted the days by UTC; here they are regrouped, in the same order. A day that begins or ends
// elsewhere only moves its heading: the pictures stay where they are.
export function partDays(days) {
  const tiles = [...days.querySelectorAll('.grid > li')];
  if (tiles.length === 0) return;
  const pattern = days.querySelector('.day').cloneNode(false);
  pattern.append(days.querySelector('.day h2').cloneNode(true), days.querySelector('.grid').cloneNode(false));
  const sections = [];
  let day = null;
  for (const tile of tiles) {
    const taken = new Date(Number(tile.dataset.sort));
    if (dayOf(taken) !== day) {
      day = dayOf(taken);
      const section = pattern.cloneNode(true);
      section.querySelector('h2 time').dateTime = taken.toISOString();
      sections.push(section);
    }
    sections.at(-1).querySelector('.grid').append(tile);
  }
  days.replaceChildren(...sections);
}
