-- What range.lua and sweep.lua share: a walk through an index in pages.

-- Lua compares strings by the server's locale, the index by their bytes.
local function follows(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

-- Shows key and score of the members of an index behind a place, in order, up to a score, until visit answers false.
-- Returns whether there may be more.
local function walk(index, start, from, behind, to, visit)
  local offset = 0
  while true do
    local page = call('ZRANGEBYSCORE', index, start, to, 'WITHSCORES', 'LIMIT', offset, 100)
    for i = 1, #page, 2 do
      if (page[i + 1] ~= from or follows(page[i], behind)) and not visit(page[i], page[i + 1]) then
        return true
      end
    end
    if #page < 200 then
      return false
    end
    offset = offset + 100
  end
end
