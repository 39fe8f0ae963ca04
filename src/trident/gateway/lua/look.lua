-- How limits stand; takes nothing. KEYS: clock, then a limit each. ARGV: wall, then the kind of each.
-- Answers: used and ms until reset of each limit.
local now = advance(KEYS[1], ARGV[1])
local answer = {}
for i = 2, #KEYS do
    local used, reset = 0, 0
    if ARGV[i] == 'concurrent' then
        used = redis.call('ZCOUNT', KEYS[i], '(' .. string.format('%.0f', now), '+inf')
    else
        local sums
        sums, used = live(KEYS[i], now)
        reset = reset_of(sums, now)
    end
    table.insert(answer, used)
    table.insert(answer, reset)
end
return answer
