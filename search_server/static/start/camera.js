/** A photograph with the camera of this computer. */

import { button, h, iconButton } from "../parts/dom.js";

/** @param {(file: File) => void} take */
export async function takePhoto(take) {
  /** @type {MediaStream | null} */
  let stream = null;
  const picture = h("video", { class: "camera-picture", autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  picture.muted = true;
  const words = h("p", { class: "quiet-words", role: "status" }, "Waiting for the camera …");
  const shoot = button("camera", "Take the picture", () => photograph(), { class: "button primary", disabled: true });
  /** @type {HTMLDialogElement} */
  const dialog = h(
    "dialog",
    { class: "sheet camera", "aria-labelledby": "camera-title" },
    h("div", { class: "sheet-head" }, h("h2", { id: "camera-title" }, "Camera"), iconButton("close", "Close", () => dialog.close())),
    picture,
    words,
    h("div", { class: "actions" }, shoot),
  );
  dialog.addEventListener("close", () => {
    stream?.getTracks().forEach((/** @type {MediaStreamTrack} */ track) => track.stop());
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();

  const photograph = () => {
    const canvas = h("canvas", { width: picture.videoWidth, height: picture.videoHeight });
    canvas.getContext("2d")?.drawImage(picture, 0, 0);
    canvas.toBlob((blob) => {
      dialog.close();
      if (blob) take(new File([blob], "Photo.jpg", { type: "image/jpeg" }));
    }, "image/jpeg", 0.92);
  };

  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
    if (!dialog.open) return stream.getTracks().forEach((track) => track.stop());
    picture.srcObject = stream;
    await picture.play();
    words.textContent = "";
    shoot.disabled = false;
    shoot.focus();
  } catch (error) {
    words.textContent = error?.name === "NotAllowedError" ? "The camera may not be used: allow it in the browser's settings for this page." : "No camera can be used here.";
  }
  return undefined;
}
