-- CompareAndReset (clause 3.5).
-- KEYS: the entry, its index.
-- ARGV: clock, expected holder, cutoff (us, or empty), command to tell by.
-- Answers 1 or 0.
local entry, index = KEYS[1], KEYS[2]
local now = clock(ARGV[1])
local old = redis.call('GET', entry)
if not old then
  return '0'
end
local status, _, _, touched, expires, _, holder = struct.unpack(HEAD, old)
if now >= expires or status ~= IN_FLIGHT or holder ~= ARGV[2] or (ARGV[3] ~= '' and touched >= tonumber(ARGV[3])) then
  return '0'
end
local key = string.sub(entry, #index + 1)
redis.call('UNLINK', entry)
redis.call('ZREM', index, 'x' .. key, 'f' .. key)
tell(ARGV[4], entry)
return '1'
