/* The photo of a user. It is drawn by hand, not shown as an image: so the page needs no permission to
 * load images of others, or of texts (Content-Security-Policy). */
import { useEffect, useRef, useState } from "react";
import { useRun } from "./parts.jsx";
import { t } from "./text.js";

const side = 96; /* px */

/* In the middle of the canvas, as large as fits. */
async function draw(canvas, { type, image }) {
  const bytes = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type }));
  const scale = Math.min(side / picture.width, side / picture.height);
  const width = picture.width * scale, height = picture.height * scale;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, side, side);
  pen.drawImage(picture, (side - width) / 2, (side - height) / 2, width, height);
  picture.close();
}

export function Photo({ command, name }) {
  const { rows } = useRun(command, { jid: name });
  const canvas = useRef(null);
  const [drawn, setDrawn] = useState(null);
  const row = rows?.[0], image = row?.image;
  useEffect(() => {
    if (!image) return undefined;
    let current = true;
    draw(canvas.current, row).then(() => current && setDrawn(image), () => {}); // some are broken
    return () => { current = false; };
  }, [image]);
  if (!image) return null;
  return <canvas ref={canvas} className="photo" width={side} height={side} hidden={drawn !== image} role="img" aria-label={t("thing.photo", { name })} />;
}
