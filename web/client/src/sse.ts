/** A server-sent event. */
export interface ServerEvent {
  type: string;
  data: string;
  id: string;
}

/**
 * Parses the text of an event stream according to the HTML standard (9.2.6), with its three line
 * endings, byte order mark, comments, and ids that stay valid for later events.
 */
export class EventParser {
  #rest = "";
  #first = true;
  #type = "";
  #data: string[] = [];
  #id = "";

  /** Parse more text; return the events that are complete. */
  feed(text: string): ServerEvent[] {
    this.#rest += this.#first ? text.replace(/^\uFEFF/, "") : text;
    if (text) this.#first = false;
    const events: ServerEvent[] = [];
    for (;;) {
      const end = this.#rest.search(/[\r\n]/);
      // A final CR may be the first half of a CRLF.
      if (end < 0 || (end === this.#rest.length - 1 && this.#rest[end] === "\r")) return events;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(this.#rest.startsWith("\r\n", end) ? end + 2 : end + 1);
      if (line) this.#field(line);
      else this.#dispatch(events);
    }
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  #dispatch(events: ServerEvent[]): void {
    if (this.#data.length) {
      events.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#id });
    }
    this.#type = "";
    this.#data = [];
  }
}
