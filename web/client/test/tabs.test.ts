import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Slots } from "../src/slots.js";
import { type News, Tabs } from "../src/tabs.js";
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

/** A tab that follows the job; `leads` while it is the one that watches. */
function tab(withLocks = true) {
  const tabs = new Tabs("longhaul", withLocks ? locks.manager : undefined, Channel);
  const closed = new AbortController();
  const self = {
    leads: false,
    heard: [] as News[],
    known: { jobId: JOB_ID, job: null, connection: "live" } as News,
    finish: () => {},
    close: () => closed.abort(),
    say(version: number) {
      self.known = { ...self.known, job: job({ version }) };
      tabs.publish(self.known);
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
    onNews: (news: News) => self.heard.push(news),
    news: () => self.known,
  };
  tabs.follow(follower, closed.signal).catch(() => undefined);
  return self;
}

async function settle(ms = 0): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

test("one tab watches and the others hear what it hears", async () => {
  const [first, second, third] = [tab(), tab(), tab()];
  await settle();
  expect([first.leads, second.leads, third.leads]).toEqual([true, false, false]);
  first.say(7);
  await settle();
  expect(second.heard.at(-1)?.job?.version).toBe(7);
  expect(third.heard.at(-1)?.job?.version).toBe(7);
});

test("a tab that opens later is told at once what is known", async () => {
  const first = tab();
  await settle();
  first.say(9);
  const second = tab();
  await settle();
  expect(second.heard.at(-1)?.job?.version).toBe(9);
});

test("when the watching tab closes, another goes on", async () => {
  const [first, second] = [tab(), tab()];
  await settle();
  first.close();
  await settle();
  expect([first.leads, second.leads]).toEqual([false, true]);
});

test("a frozen tab loses the watch to one that is awake, and never are there two", async () => {
  const [first, second] = [tab(), tab()];
  await settle(20_000);
  expect(first.leads).toBe(true);
  first.freeze();
  await settle(30_000);
  expect([first.leads, second.leads]).toEqual([false, true]);
});

test("signs of life keep the watch where it is while the job is silent", async () => {
  const [first, second] = [tab(), tab()];
  await settle(300_000);
  expect([first.leads, second.leads]).toEqual([true, false]);
});

test("without Web Locks every tab watches for itself", async () => {
  const [first, second] = [tab(false), tab(false)];
  await settle();
  expect([first.leads, second.leads]).toEqual([true, true]);
});

test("slots are counted over all tabs", async () => {
  const [here, there] = [0, 1].map(() => new Slots("longhaul", 3, locks.manager)) as [Slots, Slots];
  const taken = [await here.take(), await there.take(), await here.take()];
  expect(taken.every(Boolean)).toBe(true);
  expect(await there.take()).toBeNull();
  taken[0]?.();
  await settle();
  expect(await there.take()).not.toBeNull();
});

test("slots are counted within a tab where there are no Web Locks", async () => {
  const slots = new Slots("longhaul", 1, undefined);
  const release = await slots.take();
  expect(await slots.take()).toBeNull();
  release?.();
  expect(await slots.take()).not.toBeNull();
});
