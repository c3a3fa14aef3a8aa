import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Origin } from "./origin.js";

const ROOT = join(import.meta.dirname, "../..");
export const PYTHON = join(ROOT, ".venv/bin/python");

/** The real system, with an origin whose files can be slow, missing or failing. */
export class Stack {
  private constructor(
    readonly url: string,
    private readonly token: string,
    readonly origin: Origin,
    private readonly child: ChildProcess,
    private readonly lines: AsyncIterator<string>,
  ) {}

  static async start(env: Record<string, string> = {}): Promise<Stack> {
    if (!existsSync(PYTHON)) throw new Error("The system is not installed: run `make test-web`");
    const origin = await Origin.start();
    const child = spawn(PYTHON, [join(import.meta.dirname, "run_system.py")], {
      cwd: ROOT,
      stdio: ["pipe", "pipe", "inherit"],
      env: {
        ...process.env,
        PYTHONPATH: ROOT,
        SOURCE_URL_TEMPLATE: origin.template,
        MAX_ACTIVE_JOBS: "500",
        CREATE_PER_MINUTE_USER: "6000",
        CREATE_PER_MINUTE_IP: "6000",
        RETRY_BASE_DELAY: "0.1",
        WORKER_CONCURRENCY: "8",
        ...env,
      },
    });
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
    const output = lines[Symbol.asyncIterator]();
    const { value, done } = await output.next();
    if (done) throw new Error("The system did not start; see its output above");
    const [url, token]: string[] = value.split(" ");
    if (!url || !token) throw new Error(`The system printed "${value}"`);
    return new Stack(url, token, origin, child, output);
  }

  /** The link to the operator page, as `make up` prints it. */
  get operatorPage(): string {
    return `${this.url}/operator#token=${this.token}`;
  }

  /** The headers of an operator. */
  get operator(): Record<string, string> {
    return { Authorization: `Bearer ${this.token}` };
  }

  async kill(component: string): Promise<void> {
    await this.#send(`kill ${component}`);
  }

  async startComponent(component: string): Promise<void> {
    await this.#send(`start ${component}`);
  }

  async stop(): Promise<void> {
    const ended = new Promise((end) => this.child.once("exit", end));
    this.child.stdin?.end();
    await ended;
    await this.origin.stop();
  }

  async #send(line: string): Promise<void> {
    this.child.stdin?.write(`${line}\n`);
    const { done } = await this.lines.next();
    if (done) throw new Error(`The system ended at "${line}"`);
  }
}
