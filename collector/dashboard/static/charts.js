// The charts of an audience: its size at every lookback, and its recorded sizes. Tables beside them say the same.

const language = document.documentElement.lang.replace(/^en$/, 'en-GB'); // the day before the month, as in the tables
const number = new Intl.NumberFormat(language);
const day = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });

// A colour of light-dark() is two; a probe tells which of them holds now.
const probe = document.body.appendChild(document.createElement('i'));
const paint = (name) => {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
};

const axis = (values, more = {}) => ({
  stroke: () => paint('--soft'), grid: { stroke: () => paint('--line'), width: 1 }, ticks: { show: false },
  font: '12px system-ui, sans-serif', values, ...more,
});

// As wide as the longest label: audiences of millions would be cut off.
const wide = (_, labels) => 22 + 7 * Math.max(4, ...(labels ?? []).map((label) => label.length));

const draw = (place, data, { x, marks, time = false, ...more }) => {
  const size = () => ({ width: place.clientWidth, height: place.clientHeight });
  const chart = new uPlot({
    ...size(),
    legend: { show: false },
    cursor: { y: false, points: { size: 9, fill: () => paint('--accent'), stroke: () => paint('--card') } },
    scales: { x: { time }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
    axes: [axis(x), axis((_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? number.format(tick) : '')), { size: wide })],
    series: [{}, {
      stroke: () => paint('--accent'), width: 2, points: { show: false },
      fill: () => paint('--accent').replace(/rgb\((.*)\)/, 'rgba($1, .09)'),
    }],
    hooks: { draw: [(it) => marks(it, it.ctx)], ...more.hooks },
  }, data, place);
  new ResizeObserver(() => chart.setSize(size())).observe(place);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => chart.redraw());
  return chart;
};

const upright = (chart, context, value, tone, words) => {
  const { left, top, width, height } = chart.bbox;
  const x = Math.round(chart.valToPos(value, 'x', true));
  if (x < left || x > left + width) return;
  context.save();
  context.strokeStyle = context.fillStyle = paint(tone);
  context.lineWidth = devicePixelRatio;
  context.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, top + height);
  context.stroke();
  context.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  context.textBaseline = 'top';
  const right = x > left + width * 0.8;
  context.textAlign = right ? 'right' : 'left';
  context.fillText(words, x + (right ? -6 : 6) * devicePixelRatio, top);
  context.restore();
};

// Once it is there: while past traffic is read it is not.
const drawCurve = () => {
  const curve = document.getElementById('curve');
  if (!curve || curve.firstChild) return;
  const sizes = JSON.parse(curve.dataset.curve);
  const days = sizes.map((_, place) => place + 1);
  const slider = document.getElementById('lookback');
  const read = document.getElementById('read');
  const words = (at) => read.dataset.words.replace('{days}', number.format(at)).replace('{size}', number.format(sizes[at - 1]));
  const show = (at) => {
    slider.value = at;
    slider.setAttribute('aria-valuetext', words(at));
    read.textContent = words(at);
  };
  const own = Number(curve.dataset.days);
  const chart = draw(curve, [days, sizes], {
    x: (_, ticks) => ticks.map((tick) => (tick >= 1 ? number.format(tick) : '')),
    marks: (it, context) => upright(it, context, own, '--blue', words(own)),
    hooks: { setCursor: [(it) => it.cursor.idx !== null && it.cursor.event?.type !== undefined && show(days[it.cursor.idx])] },
  });
  slider.addEventListener('input', () => {
    const at = Number(slider.value);
    show(at);
    chart.setCursor({ left: chart.valToPos(at, 'x'), top: chart.valToPos(sizes[at - 1], 'y') }, false);
  });
  curve.addEventListener('mouseleave', () => show(own));
};
drawCurve();
document.addEventListener('htmx:after:swap', drawCurve);

const history = document.getElementById('history');
if (history) {
  const points = JSON.parse(history.dataset.history);
  const edits = JSON.parse(history.dataset.edits);
  const short = new Intl.DateTimeFormat(language, { day: 'numeric', month: 'short' });
  const reading = history.appendChild(document.createElement('output'));
  reading.className = 'tip';
  draw(history, [points.map(([at]) => at), points.map(([, size]) => size)], {
    time: true,
    x: (_, ticks) => ticks.map((tick) => short.format(tick * 1000)).map((name, place, all) => (name === all[place - 1] ? '' : name)),
    marks: (it, context) => edits.forEach((at) => upright(it, context, at, '--blue', history.dataset.edited)),
    hooks: {
      setCursor: [({ cursor: { idx } }) => {
        reading.textContent = idx === null || idx === undefined ? '' : `${day.format(points[idx][0] * 1000)}: ${number.format(points[idx][1])}`;
      }],
    },
  });
}
