-- Find (clause 3.3).
-- KEYS: the entry. ARGV: clock.
-- Answers the live record, or nothing as the empty string: a nil is dear to the client.
local old = redis.call('GET', KEYS[1])
if not old then
  return ''
end
local _, _, _, _, expires = struct.unpack(HEAD, old)
if clock(ARGV[1]) >= expires then
  return ''
end
return old
