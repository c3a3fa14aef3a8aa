-- @include args
-- @include update
-- @include dequeue
--[[
  Moves a queued job to another priority queue, at its end.

  Input:
    KEYS[1]  the job's status
    args     id, allowed (states), priority
  Output:
    {'MOVED', snapshot, wake-ups…}, also if it has the priority already
    {'NOT_FOUND'}
    {'CONFLICT'}  the job is not queued
  Event:
    version + 1; the wake-ups of the job and of the user's next one
]]

local job = load_job(args.id)
if not job then return {'NOT_FOUND'} end
if not contains(args.allowed, job.status) then return {'CONFLICT'} end
if job.priority == args.priority and job.lane == args.priority then
  return {'MOVED', cjson.encode(job)}
end
-- A job that waits for its next attempt is in no queue yet.
local is_waiting = redis.call('ZSCORE', key.waiting(job.lane), args.id)
if is_waiting then
  retract_wake_up(args.id, job.lane)
  dequeue(args.id, line_of(job), job.lane)
end
-- Its turn in the other queue is unknown.
local changes = {priority = args.priority, lane = args.priority, turn = ''}
local snapshot = update_job(job, changes)
if is_waiting then enqueue(args.id, line_of(job), args.priority) end
return {'MOVED', snapshot, unpack(wake_ups)}
