#!/bin/sh
# Speaks as much of `codex app-server` and `codex exec --json` as the tests of the control plane need;
# its lines are those that codex 0.169 said, with ids of its own. A prompt is a list of words that it
# obeys in order:
#   flood N     N text deltas          cat FILE    the bytes of a file, as they are
#   wait FIFO   until somebody has opened the fifo for writing and closed it
#   long N      one line of N bytes    make FILE   a file in the working folder
#   die CODE    ends the process
case "$1" in
--version) echo "codex-cli 0.169.0"; exit ;;
esac
for a in "$@"; do
    case "$a" in
    --help) echo "  --sandbox MODE"; exit ;;
    exec) mode=exec ;;
    esac
done
turn=turn-$$
delta() {
    printf '{"method":"item/agentMessage/delta","params":{"threadId":"thread-1","turnId":"%s","itemId":"msg_resp_1_1","delta":"%s"},"emittedAtMs":1767225600000}\n' "$turn" "$1"
}
obey() {
    while [ $# -gt 1 ]; do
        case "$1" in
        flood) yes "$(delta 'I begin with a p')" | head -n "$2" ;;
        cat) cat "$2" ;;
        wait) cat "$2" >/dev/null ;;
        long) head -c "$2" /dev/zero | tr '\0' x; echo ;;
        make) echo made >"$2" ;;
        die) exit "$2" ;;
        *) shift; continue ;;
        esac
        shift 2
    done
}
if [ "$mode" = exec ]; then
    printf '{"type":"thread.started","thread_id":"thread-1"}\n{"type":"turn.started"}\n'
    # shellcheck disable=SC2046 # words are what a prompt is made of
    obey $(cat)
    printf '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"Done."}}\n'
    printf '{"type":"turn.completed","usage":{"input_tokens":10,"cached_input_tokens":0,"output_tokens":2}}\n'
    exit
fi
turns=0
while IFS= read -r line; do
    id=${line#*'"id":"'}
    id=${id%%'"'*}
    case "$line" in
    *'"method":"initialize"'*)
        printf '{"id":"%s","result":{"userAgent":"fracta/0.169.0","platformOs":"linux"}}\n' "$id" ;;
    *'"method":"thread/start"'* | *'"method":"thread/resume"'*)
        printf '{"id":"%s","result":{"thread":{"id":"thread-1"},"model":"fake-model"}}\n' "$id" ;;
    *'"method":"turn/start"'*)
        turns=$((turns + 1))
        turn=turn-$$-$turns
        text=${line#*'"text":"'}
        text=${text%%'"'*}
        printf '{"id":"%s","result":{"turn":{"id":"%s","items":[],"status":"inProgress"}}}\n' "$id" "$turn"
        printf '{"method":"turn/started","params":{"threadId":"thread-1","turn":{"id":"%s","items":[],"status":"inProgress"}}}\n' "$turn"
        # shellcheck disable=SC2086
        obey $text
        delta Done.
        printf '{"method":"item/completed","params":{"item":{"type":"agentMessage","id":"msg_resp_1_1","text":"Done."},"threadId":"thread-1","turnId":"%s"}}\n' "$turn"
        printf '{"method":"turn/completed","params":{"threadId":"thread-1","turn":{"id":"%s","items":[],"status":"completed","error":null}}}\n' "$turn" ;;
    esac
done
