# bash completion of QPIP's commands: options and subcommands as the commands themselves name them.
_qpip() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[0]} names
    if [[ ${command##*/} == qpip-sim ]]; then
        local -r subcommand=${COMP_WORDS[1]}
        if ((COMP_CWORD == 1)); then
            names=$("$command" --complete 2>/dev/null)
        elif [[ $word == -* ]]; then
            names=$("$command" "$subcommand" --complete 2>/dev/null)
        elif ((COMP_CWORD == 2)) && [[ $subcommand == @(run|sweep|occupancy) ]]; then
            names=$("$command" list scenarios 2>/dev/null | sed -n 's/^\([a-z-]*\): .*/\1/p')
        elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == @(--profile|-p) ]]; then
            names=$("$command" list profiles 2>/dev/null | cut -d ' ' -f 1)
        fi
    elif [[ $word == -* ]]; then
        names=$("$command" --complete 2>/dev/null)
    fi
    mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
}
complete -o default -F _qpip qpip-ping qpip-ttcp qpip-perf qpip-nbd-server qpip-nbd-client qpip-nbd-copy qpip-nbd-fuse qpip-run qpip-sim
