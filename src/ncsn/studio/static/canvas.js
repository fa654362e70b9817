// Painting a hole on an image, pixel by pixel of the network's image; see `Canvas` in widgets.py.
const find = name => element.querySelector(name);
const image = find('.image'), hole = find('.hole'), paper = find('.paper');
const brush = find('.brush input'), erase = find('.erase'), chooser = find('.upload input');
const paint = hole.getContext('2d', {willReadFrequently: true});
let painting = false, last = null;

// What Python says.
function show() {
  const value = props.value;
  paper.classList.toggle('empty', !value);
  element.querySelector('.canvas').classList.toggle('paints', Boolean(value && value.paints));
  if (!value) return;
  for (const canvas of [image, hole]) {
    canvas.width = value.width;
    canvas.height = value.height;
  }
  const picture = new Image();
  picture.onload = () => image.getContext('2d').drawImage(picture, 0, 0);
  picture.src = value.image;
  const pixels = paint.createImageData(value.width, value.height);
  for (let i = 0; i < value.hole.length; i++) {
    if (value.hole[i] === '1') pixels.data.set([232, 121, 32, 190], 4 * i);
  }
  paint.putImageData(pixels, 0, 0);
}

// What Python is told.
function tell() {
  const alpha = paint.getImageData(0, 0, hole.width, hole.height).data;
  let text = '';
  for (let i = 3; i < alpha.length; i += 4) text += alpha[i] ? '1' : '0';
  props.value = {...props.value, hole: text};
}

function place(event) {
  const box = hole.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * hole.width, (event.clientY - box.top) / box.height * hole.height];
}

function dab(x, y) {
  const radius = brush.value / 2;
  for (let row = Math.floor(y - radius); row <= y + radius; row++) {
    for (let column = Math.floor(x - radius); column <= x + radius; column++) {
      if (Math.hypot(column + 0.5 - x, row + 0.5 - y) > Math.max(radius, 0.71)) continue;
      paint.clearRect(column, row, 1, 1);
      if (erase.getAttribute('aria-pressed') === 'true') continue;
      paint.fillStyle = 'rgba(232, 121, 32, 0.75)';
      paint.fillRect(column, row, 1, 1);
    }
  }
}

function stroke(event) {
  const [x, y] = place(event), [fromX, fromY] = last || [x, y];
  const pieces = Math.max(1, Math.ceil(2 * Math.hypot(x - fromX, y - fromY)));
  for (let i = 1; i <= pieces; i++) dab(fromX + (x - fromX) * i / pieces, fromY + (y - fromY) * i / pieces);
  last = [x, y];
}

hole.addEventListener('pointerdown', event => {
  if (!props.value || !props.value.paints) return;
  event.preventDefault();
  hole.setPointerCapture(event.pointerId);
  painting = true;
  last = null;
  stroke(event);
});
hole.addEventListener('pointermove', event => painting && stroke(event));
for (const end of ['pointerup', 'pointercancel']) {
  hole.addEventListener(end, () => {
    if (painting) tell();
    painting = false;
  });
}
erase.addEventListener('click', () => {
  erase.setAttribute('aria-pressed', erase.getAttribute('aria-pressed') !== 'true');
});
find('.clear').addEventListener('click', () => {
  if (!props.value) return;
  paint.clearRect(0, 0, hole.width, hole.height);
  tell();
});

// An image of the visitor's; Python says what is wrong with it.
function read(file) {
  if (!file) return;
  if (file.size > props.most_bytes) {
    trigger('dropped', {size: file.size});
    return;
  }
  const reader = new FileReader();
  reader.onload = () => trigger('dropped', {data: reader.result});
  reader.readAsDataURL(file);
}

chooser.addEventListener('change', () => {
  read(chooser.files[0]);
  chooser.value = '';
});
for (const name of ['dragover', 'dragleave', 'drop']) {
  paper.addEventListener(name, event => {
    event.preventDefault();
    paper.classList.toggle('over', name === 'dragover');
    if (name === 'drop') read(event.dataTransfer.files[0]);
  });
}
watch('value', show);
show();
