-- Touch (clause 3.4).
-- KEYS: flights, entries.
-- ARGV: clock, what a key lives longer than its entry (ms); then of each entry its holder.
-- Answers now, and for each entry YES, NO or FAILED.
local grace = tonumber(ARGV[2])
local from = #KEYS[1] + 1
local answers = {pack('>I8', now)}
local index, n = {KEYS[1]}, 1
for i = 2, #KEYS do
  local entry, answer = KEYS[i], NO
  local old = pcall_('GET', entry)
  if type(old) == 'string' then
    local status, _, _, touched, ttl, holder = parse(HEAD, old)
    if now < touched + ttl and status == IN_FLIGHT and holder == ARGV[i + 1] then
      touched = math.max(touched, now)
      local set = pcall_('SET', entry, sub(old, 1, 13) .. pack('>I8', touched) .. sub(old, 22), 'PX', math.ceil(ttl / 1000) + grace)
      if set.err then
        answer = FAILED .. pack('>I4c0', #set.err, set.err)
      else
        index[n + 1], index[n + 2] = touched, sub(entry, from)
        n, answer = n + 2, YES
      end
    end
  elseif old then
    answer = FAILED .. pack('>I4c0', #old.err, old.err)
  end
  answers[#answers + 1] = answer
end
if n > 1 then
  call('ZADD', unpack(index))
end
return table.concat(answers)
