-- @include base
--[[
  Notes of the server's clock, so that a sweep notices when it was set back. Times in the future would
  else stay there for as long as the clock was wrong.

  noted_time(): the newest time that was noted, ms; 0 if there is none
  note_time(): notes the time
  note_clock(): the same if the last note is older. Every script calls it that stores when something
    becomes due: no sweep may have run before the clock is set back
]]

-- Milliseconds between two notes.
local CLOCK_NOTE_INTERVAL = 5000

local function noted_time()
  return tonumber(redis.call('HGET', key.read_up_to(), 'noted') or '0')
end

local function note_time()
  redis.call('HSET', key.read_up_to(), 'noted', now_text)
  redis.call('PEXPIRE', key.read_up_to(), 86400000)
end

local function note_clock()
  if now > noted_time() + CLOCK_NOTE_INTERVAL then note_time() end
end
