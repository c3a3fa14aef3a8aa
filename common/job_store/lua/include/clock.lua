-- @include base
--[[
  Notes the server's time, so that a sweep notices when its clock was set back, and corrects the times
  that then lie in the future.

  noted_time(): the time that was noted last, ms; 0 if there is none
  note_time(): notes the current time
  note_time_if_due(): the same, unless the last note is from the last CLOCK_NOTE_INTERVAL, or later than now.
    Every script that stores when something becomes due calls it, because the clock may be set back
    before the next sweep
  time_for_scores(): the current time; but after the clock was set back, the time noted before, until a
    sweep has corrected the times in its sorted sets. It subtracts the difference from all of them,
    also from those that were stored since. Only archives would suffer from that: whatever else is due
    too early is done a little early, or once more
]]

-- Milliseconds by which the clocks of a primary and its replicas may differ.
local CLOCK_TOLERANCE = 1000

-- Milliseconds between two notes.
local CLOCK_NOTE_INTERVAL = 5000

local noted

local function noted_time()
  noted = noted or tonumber(redis.call('HGET', key.read_up_to(), 'noted') or '0')
  return noted
end

local function note_time()
  noted = now
  redis.call('HSET', key.read_up_to(), 'noted', now_text)
  redis.call('PEXPIRE', key.read_up_to(), 86400000)
end

local function note_time_if_due()
  if now > noted_time() + CLOCK_NOTE_INTERVAL then note_time() end
end

local function time_for_scores()
  return noted_time() > now + CLOCK_TOLERANCE and noted or now
end
