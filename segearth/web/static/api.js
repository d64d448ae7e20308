// Client of the REST interface of segearth web. Every failure is an ApiError with a message for the user.

const GONE = "The server does not answer. Is segearth web still running?";

export class ApiError extends Error {
  /**
   * @param {string} message a sentence for the user
   * @param {string|null} field the field of the request that caused it: "classes", "file", "path", ...
   * @param {number} status HTTP status; 0 without a response
   */
  constructor(message, field = null, status = 0) {
    super(message);
    this.field = field;
    this.status = status;
  }
}

/** The error of a response without success. */
function errorOf(status, text) {
  try {
    const { error, field } = JSON.parse(text);
    if (error) return new ApiError(error, field ?? null, status);
  } catch {
    // Not from segearth: from a proxy, for example.
  }
  return new ApiError(`The server answers with error ${status}.`, null, status);
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`api${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(GONE);
  }
  if (!answer.ok) throw errorOf(answer.status, await answer.text());
  return answer;
}

const get = async (path, options) => (await ask(path, options)).json();

const post = async (path, body) =>
  (
    await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
  ).json();

export const api = {
  about: () => get(""),
  files: (path) => get(`/files?${new URLSearchParams({ path })}`),
  images: () => get("/images"),
  image: (id) => get(`/images/${id}`),
  open: (path) => post("/images", { path }),
  remove: (id) => ask(`/images/${id}`, { method: "DELETE" }),
  jobs: () => get("/jobs"),
  job: (id) => get(`/jobs/${id}`),
  map: (request) => post("/jobs", request),
  cancel: (id) => post(`/jobs/${id}/cancel`, {}),
  histogram: (id) => get(`/jobs/${id}/histogram`),
  pixel: (id, row, column, signal) => get(`/jobs/${id}/pixel?${new URLSearchParams({ row, column })}`, { signal }),
  imageTiles: (id) => `api/images/${id}/tiles`,
  jobTiles: (id) => `api/jobs/${id}/tiles`,
  file: (id, name, query) => `api/jobs/${id}/files/${name}${query.size ? `?${query}` : ""}`,
};

/**
 * Uploads a file by XMLHttpRequest, as fetch has no upload progress.
 * @returns {{done: Promise<object>, cancel: () => void}} the image; cancelling rejects with null
 */
export function upload(file, onProgress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(errorOf(request.status, request.responseText));
    };
    request.onerror = () => reject(new ApiError(`The upload of ${file.name} was broken off. Try it again.`, "file"));
    request.onabort = () => reject(null);
  });
  const form = new FormData();
  form.append("file", file, file.name);
  request.open("POST", "api/images");
  request.send(form);
  return { done, cancel: () => request.abort() };
}

export const ended = (job) => !["queued", "running"].includes(job.state);

/**
 * Follows a job until it ends, by server-sent events, or by polling where these are blocked.
 * @param {string} id id of the job
 * @param {(job: object) => void} onJob called at each change
 * @param {(error: ApiError) => void} onTrouble called when the server cannot be reached
 * @returns {() => void} a function that stops following
 */
export function follow(id, onJob, onTrouble) {
  const events = new EventSource(`api/jobs/${id}/events`);
  let timer = null;
  let stopped = false;
  const stop = () => {
    stopped = true;
    events.close();
    clearTimeout(timer);
  };
  const take = (job) => {
    if (stopped) return;
    if (ended(job)) stop();
    onJob(job);
  };
  const poll = async () => {
    try {
      take(await api.job(id));
    } catch (error) {
      onTrouble(error);
      if (error.status === 404) stop();
    }
    if (!stopped) timer = setTimeout(poll, 2000);
  };
  events.addEventListener("job", (event) => take(JSON.parse(event.data)));
  events.onerror = () => {
    events.close();
    if (!stopped) poll();
  };
  return stop;
}
