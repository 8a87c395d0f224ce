-- waiting -> leased, best score first; passes over what this reviewer skipped.
-- KEYS waiting, leases   ARGV item key prefix, reviewer, count, lease ms, nonce, most to pass over, ids to choose from...
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local count, found, passed = tonumber(ARGV[3]), {}, 0

local function take(id)
  local key = ARGV[1] .. id
  local item = redis.call('HMGET', key, 'state', 'skipped', 'body', 'retry')
  local skipped = item[2] and string.find(item[2], '\0' .. ARGV[2] .. '\0', 1, true)
  if item[1] ~= 'waiting' or skipped then
    passed = passed + 1
    return
  end
  local fence = redis.call('HINCRBY', key, 'fence', 1)
  redis.call('HSET', key, 'state', 'leased', 'token', fence .. '~' .. ARGV[5], 'reviewer', ARGV[2], 'leased', now)
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZADD', KEYS[2], now + ARGV[4], id)
  found[#found + 1] = {id, fence, item[3], item[4] or ''}
end

if #ARGV > 6 then
  for i = 7, #ARGV do
    if #found < count then take(ARGV[i]) end
  end
else
  while #found < count and passed < tonumber(ARGV[6]) do  -- what is taken leaves the set, so `passed` is where to read on
    local page = redis.call('ZRANGE', KEYS[1], passed, passed + math.min(count, 100) - 1)
    if #page == 0 then break end
    for _, id in ipairs(page) do
      if #found < count then take(id) end
    end
  end
end
return {now, found}
