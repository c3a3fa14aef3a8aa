/** Milliseconds that a frame is kept, because a slow storage may send the file's headers late. */
const KEEP_FRAME = 60_000;

/**
 * Save the file behind a URL without leaving the page: a hidden frame opens the URL. If the response
 * is a document, such as an error of the storage, the frame shows it and `onError` is called.
 */
export function saveFile(url: string, onError: () => void): void {
  // Each frame has its own timer: to remove one earlier would abort its download.
  const own = document.createElement("iframe");
  own.hidden = true;
  own.title = "Download";
  // Documents in the frame, such as errors, run no scripts.
  own.setAttribute("sandbox", "allow-downloads");
  // A response that the browser saves as a file causes no `load` event.
  own.addEventListener("load", () => {
    own.remove();
    onError();
  });
  own.src = url;
  document.body.append(own);
  setTimeout(() => own.remove(), KEEP_FRAME);
}
