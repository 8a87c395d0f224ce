-- Verdicts whose hold is over, for the caller to let go; one whose amendment is not journaled yet waits for it. Whoever takes
-- them and dies is made up for after a while.
-- KEYS held   ARGV verdict key prefix, ms to let them go, limit, items to choose from...
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local items, found = {}, {}
if #ARGV > 3 then
  for i = 4, #ARGV do
    local due = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if due and tonumber(due) <= now then items[#items + 1] = ARGV[i] end
  end
else
  items = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[3])
end
for _, item in ipairs(items) do
  local verdict = redis.call('HMGET', ARGV[1] .. item, 'payload', 'stands', 'amendment')
  if not verdict[1] then
    redis.call('ZREM', KEYS[1], item)
  else
    redis.call('ZADD', KEYS[1], now + ARGV[2], item)
    if not verdict[3] then
      redis.call('HSET', ARGV[1] .. item, 'leaving', verdict[2])
      found[#found + 1] = verdict[1]
    end
  end
end
return found
