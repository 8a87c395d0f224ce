-- What GET shows. A later revision replaces an earlier one and never the other way round; a final replaces one of lower rank,
-- so that a person's stands over the model's in whatever order the two arrive. views.py says how an entry is laid out.
-- Whoever waits for a final is told when one comes to a prediction that is there already.
-- KEYS view   ARGV packed view or '', revision, final or '', rank, retention s or ''
local stored = redis.call('GET', KEYS[1])
local revision, rank, view, final = 0, -1, '', ''
if stored then
  local head, length
  revision, rank, length, head = string.match(stored, '^(%d+) (%-?%d+) (%d+)\n()')
  revision, rank, length = tonumber(revision), tonumber(rank), tonumber(length)
  view, final = string.sub(stored, head, head + length - 1), string.sub(stored, head + length)
end
local there = view ~= ''
if ARGV[1] ~= '' and tonumber(ARGV[2]) >= revision then
  view, revision = ARGV[1], tonumber(ARGV[2])
end
if ARGV[3] ~= '' and tonumber(ARGV[4]) > rank then
  final, rank = ARGV[3], tonumber(ARGV[4])
  if there then redis.call('PUBLISH', 'sr:finals', KEYS[1]) end
end
local entry = string.format('%d %d %d\n', revision, rank, #view) .. view .. final
redis.call('SET', KEYS[1], entry, 'KEEPTTL')
if ARGV[5] ~= '' then redis.call('EXPIRE', KEYS[1], ARGV[5]) end
return 1
