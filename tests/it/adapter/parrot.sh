#!/bin/sh
# parrot: an agent CLI that nobody has. It repeats what it is told, and remembers how often.
#
#   parrot --version
#   parrot run  [--model NAME] [--resume ID]   one turn, whose prompt is stdin
#   parrot talk [the same]                     turns come as lines on stdin
#
# It says {"say":"hello","session":ID}, then for each turn "begin" (with the turn's id in talk), "word"s,
# "text", and "over" with how: done, stopped or failed. In talk it takes {"do":"turn","id":…,"text":…},
# {"do":"stop"} and, after {"say":"ask","n":N,"what":…}, {"do":"answer","n":N,"yes":true or false}.
# Prompts: `ask WHAT` asks, `wait` waits to be stopped, `perches` names those of $PARROT_PERCHES,
# `die` dies.
verb=$1
[ "$verb" = --version ] && { echo "parrot 1.4.2 (of nobody)"; exit; }
shift
model=grey session=bird-$$
while [ $# -gt 0 ]; do
    case "$1" in
    --model) model=$2 ;;
    --resume) session=$2 ;;
    *) echo "parrot: what is $1?" >&2; exit 2 ;;
    esac
    shift 2
done
memory=$PARROT_HOME/$session
say() { printf '%s\n' "$1"; }
field() { value=${line#*"\"$1\":\""}; value=${value%%'"'*}; }
over() { say '{"say":"over","how":"'"$1"'"}'; }
tell() { say '{"say":"text","text":"'"$1"'"}'; }

turn() { # ID PROMPT
    echo x >>"$memory"
    say '{"say":"begin","id":"'"$1"'"}'
    for word in $2; do say '{"say":"word","text":"'"$word"'"}'; done
    case "$2" in
    ask\ *)
        asked=$((asked + 1))
        say '{"say":"ask","n":'$asked',"what":"'"${2#ask }"'"}'
        while IFS= read -r line; do
            case "$line" in
            *'"do":"stop"'*) over stopped; return ;;
            *'"do":"answer","n":'"$asked"',"yes":true'*) tell "I may ${2#ask }"; break ;;
            *'"do":"answer","n":'"$asked"',"yes":false'*) tell "I may not ${2#ask }"; break ;;
            esac
        done ;;
    wait)
        [ "$verb" = run ] && while :; do sleep 9; done
        while IFS= read -r line; do
            case "$line" in *'"do":"stop"'*) over stopped; return ;; esac
        done ;;
    perches) tell "perches: $(tr , '\n' <"$PARROT_PERCHES" | sed -n 's/.*"name":"\([^"]*\)".*/\1/p' | tr '\n' ' ')" ;;
    die) echo "parrot: the perch broke" >&2; exit 3 ;;
    *) tell "$2 ($model, turn $(wc -l <"$memory" | tr -d ' '))" ;;
    esac
    over done
}

say '{"say":"hello","session":"'"$session"'"}'
case "$verb" in
run) turn 1 "$(cat)" ;;
talk)
    while IFS= read -r line; do
        case "$line" in
        *'"do":"turn"'*)
            field id; id=$value
            field text; turn "$id" "$value" ;;
        esac
    done ;;
esac
