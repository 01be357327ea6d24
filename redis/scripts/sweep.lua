-- SweepExpired (clause 3.8), one batch of one shard. Results lie in the order of their end. What is in flight does not, and
-- is looked at one by one: that costs less than a heartbeat of each.
-- KEYS: flights, results.
-- ARGV: clock; end (us); most entries; which index; for flights score and member to go on behind ('' and '': from the first).
-- Answers how many were removed; whether there may be more (1, 0); score and member of the last that was looked at.
local at, most, from, behind = math.min(now, tonumber(ARGV[2])), tonumber(ARGV[3]), ARGV[5], ARGV[6]
local kind = tonumber(ARGV[4])
local index = kind == DONE and KEYS[2] or KEYS[1]
local keys, score, more = {}, from, nil
if kind == DONE then
  keys = call('ZRANGEBYSCORE', index, 0, at, 'LIMIT', 0, most)
  more = #keys == most
else
  local start = from == '' and '-inf' or from
  more = walk(index, start, from, behind, at, function(key, touched)
    if #keys == most then
      return false
    end
    keys[#keys + 1], score = key, touched
    return true
  end)
end
local last = keys[#keys] or behind
return pack('>I4BI4c0I4c0', bury(index, keys, kind, at), more and 1 or 0, #score, score, #last, last)
