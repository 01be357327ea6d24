-- MarkDone (clause 3.2).
-- KEYS: the entry, its index.
-- ARGV: clock, holder, result, ttl (us), life of the key (ms), command to tell by.
-- Answers 1, 2 where it was done before by the same holder, or 0.
local entry, index, ttl = KEYS[1], KEYS[2], tonumber(ARGV[4])
local now = clock(ARGV[1])
local old = redis.call('GET', entry)
if not old then
  return '0'
end
local status, attempt, created, _, expires, _, holder, rest = struct.unpack(HEAD, old)
if now >= expires or holder ~= ARGV[2] then
  return '0'
end
if status == DONE then
  return '2'
end
-- A clock that was set back must not move a stamp before the claim.
local touched = math.max(now, created)
expires = touched + ttl
local head = struct.pack(HEAD, DONE, attempt, created, touched, expires, ttl, #holder, holder)
redis.call('SET', entry, head .. string.sub(old, rest) .. ARGV[3], 'PX', ARGV[5])
local key = string.sub(entry, #index + 1)
redis.call('ZADD', index, digits(expires), 'x' .. key)
redis.call('ZREM', index, 'f' .. key)
tell(ARGV[6], entry)
return '1'
