import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Slots } from "../src/slots.js";
import { Tabs, type TabUpdate } from "../src/tabs.js";
import { unlessAborted } from "../src/timing.js";
import { FakeLocks, fakeChannels } from "./fake-browser.js";
import { JOB_ID, job } from "./fake-server.js";

let locks: FakeLocks;
let Channel: typeof BroadcastChannel;

beforeEach(() => {
  vi.useFakeTimers();
  locks = new FakeLocks();
  Channel = fakeChannels();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Open a tab that follows the job; `leads` is true while it is the leader. */
function tab(withLocks = true, manager = locks.manager) {
  const tabs = new Tabs("longhaul", withLocks ? manager : undefined, Channel);
  const closed = new AbortController();
  const self = {
    leads: false,
    received: [] as TabUpdate[],
    update: { jobId: JOB_ID, job: null, connection: "live" } as TabUpdate,
    finish: () => {},
    close: () => closed.abort(),
    publish(version: number) {
      self.update = { ...self.update, job: job({ version }) };
      tabs.publish(self.update);
    },
    freeze() {
      tabs.publish = () => undefined;
    },
  };
  const lead = async (signal: AbortSignal) => {
    self.leads = true;
    const finished = new Promise<void>((resolve) => {
      self.finish = resolve;
    });
    await unlessAborted(finished, signal).finally(() => {
      self.leads = false;
    });
  };
  const follower = {
    jobId: JOB_ID,
    lead,
    onUpdate: (update: TabUpdate) => self.received.push(update),
    currentUpdate: () => self.update,
  };
  tabs.follow(follower, closed.signal).catch(() => undefined);
  return self;
}

async function settle(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

test("one tab watches and the others receive its updates", async () => {
  const [first, second, third] = [tab(), tab(), tab()];
  await settle();
  expect([first.leads, second.leads, third.leads]).toEqual([true, false, false]);
  first.publish(7);
  await settle();
  expect(second.received.at(-1)?.job?.version).toBe(7);
  expect(third.received.at(-1)?.job?.version).toBe(7);
});

test("a tab that opens later receives the current state", async () => {
  const first = tab();
  await settle();
  first.publish(9);
  const second = tab();
  await settle();
  expect(second.received.at(-1)?.job?.version).toBe(9);
});

test("when the leading tab closes, another one takes over", async () => {
  const [first, second] = [tab(), tab()];
  await settle();
  first.close();
  await settle();
  expect([first.leads, second.leads]).toEqual([false, true]);
});

test("a visible tab takes over from a frozen one, and there are never two leaders", async () => {
  const [first, second] = [tab(), tab()];
  await settle(20_000);
  expect(first.leads).toBe(true);
  first.freeze();
  await settle(30_000);
  expect([first.leads, second.leads]).toEqual([false, true]);
});

test("heartbeats keep the leader while the job does not change", async () => {
  const [first, second] = [tab(), tab()];
  await settle(300_000);
  expect([first.leads, second.leads]).toEqual([true, false]);
});

test("without Web Locks every tab watches on its own", async () => {
  const [first, second] = [tab(false), tab(false)];
  await settle();
  expect([first.leads, second.leads]).toEqual([true, true]);
});

test("slots are shared by all tabs", async () => {
  const [first, second] = [0, 1].map(() => new Slots("longhaul", 3, locks.manager)) as [
    Slots,
    Slots,
  ];
  const acquired = [await first.acquire(), await second.acquire(), await first.acquire()];
  expect(acquired.every(Boolean)).toBe(true);
  expect(await second.acquire()).toBeNull();
  acquired[0]?.();
  await settle();
  expect(await second.acquire()).not.toBeNull();
});

test("without Web Locks slots are limited per tab", async () => {
  const slots = new Slots("longhaul", 1, undefined);
  const release = await slots.acquire();
  expect(await slots.acquire()).toBeNull();
  release?.();
  expect(await slots.acquire()).not.toBeNull();
});

/** The Web Locks of a page whose site data is blocked. */
const deniedLocks = {
  request: () => Promise.reject(new DOMException("denied", "SecurityError")),
} as unknown as LockManager;

// What the browser denies is missing: the page works on its own.
test("a tab whose Web Locks are denied watches on its own", async () => {
  const denied = tab(true, deniedLocks);
  await settle(60_000);
  expect(denied.leads).toBe(true);
});

test("a tab whose BroadcastChannel is denied watches on its own", async () => {
  Channel = class {
    constructor() {
      throw new DOMException("denied", "SecurityError");
    }
  } as unknown as typeof BroadcastChannel;
  const denied = tab();
  await settle(60_000);
  expect(denied.leads).toBe(true);
});

test("when Web Locks are denied, slots are limited per tab", async () => {
  const slots = new Slots("longhaul", 1, deniedLocks);
  const release = await slots.acquire();
  expect(release).not.toBeNull();
  expect(await slots.acquire()).toBeNull();
  release?.();
  expect(await slots.acquire()).not.toBeNull();
});

test("a clock that is set back keeps the leader", async () => {
  const [first, second] = [tab(), tab()];
  await settle(20_000);
  first.freeze();
  vi.setSystemTime(Date.now() - 600_000);
  await settle(30_000);
  expect([first.leads, second.leads]).toEqual([false, true]);
});
