/** Characters that change the direction of what follows, so that a name can pretend to be another. */
const DIRECTION_CONTROLS = /[\u202A-\u202E\u2066-\u2069]/g;
/** Names up to this length are not split. */
const MAX_WHOLE = 20;
const END_LENGTH = 6;

/** Return the name without characters that could disguise it. */
export function plainName(name: string): string {
  return name.replace(DIRECTION_CONTROLS, "");
}

/**
 * The name of a file, on one line. A long one is cut in the middle, so that its end, which often
 * differs, stays visible; the tooltip shows all of it.
 */
export function FileName({ name }: { name: string }) {
  const plain = plainName(name);
  const [start, end] = halvesOf(plain);
  return (
    <bdi className="file-name" dir="auto" title={plain}>
      <span className="file-name-start">{start}</span>
      {end && <span className="file-name-end">{end}</span>}
    </bdi>
  );
}

/** Split off the extension, and some characters before it unless the script joins its letters. */
function halvesOf(name: string): [string, string] {
  const characters = charactersOf(name);
  if (characters.length <= MAX_WHOLE) return [name, ""];
  const extension = charactersOf(/\.[^.]{1,8}$/.exec(name)?.[0] ?? "").length;
  const joins = /[\u0600-\u08FF\u0900-\u0DFF]/.test(name);
  const cut = characters.length - extension - (joins ? 0 : END_LENGTH);
  return [characters.slice(0, cut).join(""), characters.slice(cut).join("")];
}

/** Split a text into characters as readers see them, for example a letter with its accent. */
function charactersOf(text: string): string[] {
  if (typeof Intl.Segmenter !== "function") return Array.from(text);
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}
