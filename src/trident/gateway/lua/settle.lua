-- Puts what was really used in the place of what was taken; the second time it does nothing.
-- KEYS: clock, held, then a limit each. ARGV: wall, holder, second in which it was taken,
-- then kind, taken and used of each share.
local now = advance(KEYS[1], ARGV[1])
if redis.call('DEL', KEYS[2]) == 0 then
    return 0
end
for i = 1, #KEYS - 2 do
    local key, kind = KEYS[i + 2], ARGV[3 * i + 1]
    local taken, used = tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
    if kind == 'concurrent' then
        redis.call('ZREM', key, ARGV[2])
    elseif used > taken then
        add(key, now, used - taken)
    else
        local kept = redis.call('HGET', key, ARGV[3])
        if kept then
            local last, sum = string.match(kept, '(%d+):(%d+)')
            redis.call('HSET', key, ARGV[3], string.format('%s:%.0f', last, tonumber(sum) - (taken - used)))
        end
    end
end
return 1
