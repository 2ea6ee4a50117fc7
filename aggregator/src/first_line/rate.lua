-- The generic cell rate algorithm, as aggregator/src/domain/rate.rs has it, on the server's clock.
-- KEYS[1]: when the bucket is empty, microseconds. ARGV: interval and tolerance, microseconds.
-- Returns the microseconds to wait; 0 when the request is admitted.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local empty_at = tonumber(redis.call('GET', KEYS[1]) or '')
-- Only an instant that this script can have written counts: not one of a clock that was set back, no garbage, no NaN.
if not (empty_at and empty_at >= now and empty_at <= now + tolerance + interval) then
  empty_at = now
end
local early = empty_at - now - tolerance
if early > 0 then
  return early
end
empty_at = empty_at + interval
redis.call('SET', KEYS[1], string.format('%.0f', empty_at), 'PX', math.ceil((empty_at - now) / 1000))
return 0
