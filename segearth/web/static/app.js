// The page: selects the image and the map to show, and updates all parts.

import { api, ended, follow } from "./api.js";
import { announce, byId, element, throttled } from "./dom.js";
import { Downloads } from "./downloads.js";
import { Images } from "./images.js";
import { isSmall, setUpSheet, setUpTheme, showPart, watchInput } from "./layout.js";
import { Legend, fill } from "./legend.js";
import { ImageMap } from "./map.js";
import { Mapping } from "./mapping.js";
import { Scores } from "./scores.js";

const state = {
  images: [], // newest first
  jobs: [], // newest first
  image: null,
  job: null,
  view: null, // how the job's map is shown: see classes.js
  histogram: null, // counts in the whole image
};

let map, images, mapping, legend, scores, downloads;
let stopFollowing = () => {};

async function start() {
  setUpTheme();
  watchInput();
  setUpSheet();
  map = new ImageMap(showScores, throttled(150, showShares));
  legend = new Legend(viewChanged);
  scores = new Scores((at) => map.mark(at));
  downloads = new Downloads();
  setUpOpacity();
  byId("job").addEventListener("change", () => showJob(state.jobs.find((job) => job.id === byId("job").value)));
  try {
    const [about, imageList, jobList] = await Promise.all([api.about(), api.images(), api.jobs()]);
    byId("model").textContent = about.model;
    state.images = imageList;
    state.jobs = jobList;
    images = new Images(about, opened, chooseImage, removeImage);
    mapping = new Mapping(about.presets, startJob, cancelJob);
    mapping.restore();
    showFirst();
  } catch (error) {
    complainAtAll(error);
  }
}

/** Restores the view before a reload, else shows a running job, else the newest image. */
function showFirst() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const job =
    state.jobs.find((one) => one.id === hash.get("job")) ??
    (hash.get("image") ? null : (state.jobs.find((one) => !ended(one)) ?? null));
  const id = job?.image ?? hash.get("image");
  const image = state.images.find((one) => one.id === id) ?? state.images[0];
  if (image) showImage(image, job);
  else images.show([], null);
}

function complainAtAll(error) {
  byId("general-error").textContent = error ? error.message : "";
}

// ---- the image

function opened(image) {
  state.images = [image, ...state.images.filter((one) => one.id !== image.id)];
  announce(`${image.name} is open`);
  showImage(image);
  if (isSmall()) showPart("classes-part");
}

const chooseImage = (id) => showImage(state.images.find((one) => one.id === id));

async function removeImage(image) {
  try {
    await api.remove(image.id);
    state.images = state.images.filter((one) => one.id !== image.id);
    state.jobs = state.jobs.filter((one) => one.image !== image.id);
    if (state.images.length) showImage(state.images[0]);
    byId("image").focus();
  } catch (error) {
    complainAtAll(error);
  }
}

/** Shows an image with its newest map; polls while the image is being prepared. */
function showImage(image, job = null) {
  state.image = image;
  complainAtAll(null);
  scores.hide();
  images.show(state.images, image);
  const ready = image.state === "ready";
  map.showImage(ready ? { ...image, tiles: api.imageTiles(image.id) } : null);
  const message = byId("stage-message");
  message.hidden = ready;
  message.textContent = image.state === "preparing" ? `Preparing ${image.name}…` : "This image cannot be shown.";
  byId("map-it").disabled = !ready;
  const own = state.jobs.filter((one) => one.image === image.id);
  showJob(job ?? own.find((one) => !ended(one)) ?? own.find((one) => one.state === "done") ?? own[0] ?? null);
  if (image.state === "preparing") setTimeout(() => lookAgain(image), 400);
}

async function lookAgain(image) {
  try {
    const now = await api.image(image.id);
    state.images = state.images.map((one) => (one.id === now.id ? now : one));
    if (state.image?.id !== now.id) return;
    if (now.state === "preparing") setTimeout(() => lookAgain(image), 400);
    else showImage(now, state.job);
  } catch (error) {
    complainAtAll(error);
  }
}

// ---- the map

async function startJob(request) {
  const job = await api.map({ image: state.image.id, ...request });
  state.jobs = [job, ...state.jobs];
  if (state.image.id !== job.image) return; // another image was selected meanwhile
  showJob(job);
  if (isSmall()) showPart("classes-part");
}

async function cancelJob() {
  byId("cancel").disabled = true;
  try {
    await api.cancel(state.job.id);
  } catch (error) {
    mapping.complain(error);
  } finally {
    byId("cancel").disabled = false;
  }
}

/** Shows the map of a job, or none, and follows the job while it runs. */
function showJob(job) {
  stopFollowing();
  stopFollowing = () => {};
  state.job = job;
  state.histogram = null;
  state.view = job && viewOf(job);
  scores.hide();
  remember();
  map.showJob(state.image.state === "ready" ? job : null, job ? api.jobTiles(job.id) : "", state.view);
  legend.show(job, state.view);
  if (job) mapping.suggest(job.classes_text);
  showJobs();
  showProgress();
  showShares();
  if (!job) return;
  getHistogram();
  if (!ended(job)) stopFollowing = follow(job.id, jobChanged, complainAtAll);
}

/** Handles news of the shown job. */
function jobChanged(job) {
  const before = state.job;
  complainAtAll(null);
  state.jobs = state.jobs.map((one) => (one.id === job.id ? job : one));
  if (state.job?.id !== job.id) return;
  state.job = job;
  if (job.classes.length !== before.classes.length) return showJob(job);
  showProgress();
  if (job.revision !== before.revision || ended(job)) getBlocks();
  if (!ended(job)) return;
  const outcome = { done: "The map is done", failed: `The map failed: ${job.error}`, cancelled: "The map was cancelled" };
  announce(outcome[job.state]);
  showJobs();
  if (job.state === "done" && isSmall()) showPart("legend-part");
}

const getBlocks = throttled(800, () => {
  if (!state.job) return; // an image without a map was selected meanwhile
  map.classLayer?.refresh(state.job.revision);
  getHistogram();
});

async function getHistogram() {
  const { job } = state;
  if (!job) return;
  try {
    const histogram = await api.histogram(job.id);
    if (state.job?.id === job.id) state.histogram = histogram;
    showShares();
  } catch (error) {
    if (error.status !== 404) complainAtAll(error);
  }
}

function showProgress() {
  mapping.show(state.job, state.image.remarks);
  downloads.show(state.job, state.view);
  const part = state.job && state.job.state !== "done";
  byId("scene-head").textContent = part ? "So far" : "Image";
  byId("legend-caption").textContent = `Classes with their shares of the view and of ${part ? "what is mapped so far" : "the image"}`;
}

/** Shows the list of maps of this image, if there are several. */
function showJobs() {
  const own = state.jobs.filter((one) => one.image === state.image.id);
  byId("job-choice").hidden = own.length < 2;
  byId("job").replaceChildren(
    ...own.map((one, index) =>
      element("option", { value: one.id, selected: one.id === state.job?.id }, `${own.length - index}: ${jobName(one)}`),
    ),
  );
}

function jobName(job) {
  const names = job.classes.map((one) => one.name).join(", ");
  return (names.length > 32 ? `${names.slice(0, 31)}…` : names) + (job.state === "done" ? "" : ` (${job.state})`);
}

// ---- the view

/** The threshold, colours and hidden classes of a job: those before a reload, else those of the job. */
function viewOf(job) {
  const kept = JSON.parse(sessionStorage.getItem(`view-${job.id}`) ?? "{}");
  return {
    classes: job.classes,
    first: job.threshold,
    threshold: kept.threshold ?? job.threshold,
    moved: kept.moved ?? false,
    colours: kept.colours ?? job.classes.map((one) => one.colour.toLowerCase()),
    hidden: new Set(kept.hidden ?? []),
  };
}

function viewChanged() {
  const { view, job } = state;
  map.classLayer?.repaint(view);
  showShares();
  scores.draw();
  downloads.hint();
  sessionStorage.setItem(`view-${job.id}`, JSON.stringify({ ...view, classes: undefined, hidden: [...view.hidden] }));
}

function setUpOpacity() {
  const slider = byId("opacity");
  slider.value = sessionStorage.getItem("opacity") ?? 0.6;
  const show = () => {
    map.setOpacity(slider.value);
    byId("opacity-value").textContent = `${Math.round(100 * slider.value)} %`;
    fill(slider);
  };
  slider.addEventListener("input", () => {
    sessionStorage.setItem("opacity", slider.value);
    show();
  });
  show();
}

function showShares() {
  if (state.view) legend.showShares(map.histogram(), state.histogram);
}

function showScores(row, column) {
  if (state.job) scores.ask(state.job, state.image, state.view, row, column);
}

/** Stores the shown image and map in the URL, so that a reload restores them. */
function remember() {
  const hash = new URLSearchParams({ image: state.image.id });
  if (state.job) hash.set("job", state.job.id);
  history.replaceState(null, "", `#${hash}`);
}

start();
