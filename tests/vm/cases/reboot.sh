# A reboot, and then a power cut: the next command tells the truth about each container, and policies are kept.
. /mnt/in/lib.sh

case $BOOT in
1)
  loginctl enable-linger tester
  login <<'USER'
pybox import /mnt/in/busybox.tar busybox:latest >/dev/null
systemctl --user enable pybox-restart.service 2>/dev/null
for policy in no always unless-stopped; do
  pybox run -d --name $policy --restart $policy --network none busybox:latest \
    sh -c 'echo up >>/starts; trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
done
pybox run -d --name stopped --restart unless-stopped --network none busybox:latest sh -c 'trap "exit 0" TERM; while :; do sleep 0.2; done' >/dev/null
pybox stop stopped >/dev/null
mkdir -p ~/.config/pybox/units
printf '[Container]\nImage=busybox:latest\nNetwork=none\nStopTimeout=1\nExec=sleep 100000\n[Install]\nWantedBy=default.target\n' \
  >~/.config/pybox/units/unit.container
systemctl --user daemon-reload
systemctl --user start unit
awaits 20 eval 'pybox ps --format "{{.Names}}" | grep -qx systemd-unit'
cat /proc/sys/kernel/random/boot_id >~/boot
USER
  step "a reboot"
  reboot_by systemctl reboot
  ;;
2 | 3)
  [ "$BOOT" = 2 ] || step "after a power cut"
  login <<'USER'
is "another boot" another "$([ "$(cat ~/boot)" = "$(cat /proc/sys/kernel/random/boot_id)" ] && echo the same || echo another)"
cat /proc/sys/kernel/random/boot_id >~/boot
awaits 90 systemctl --user is-active pybox-restart.service
awaits 90 eval '[ $(pybox ps -q | wc -l) -ge 3 ]'
is "what runs" "always systemd-unit unless-stopped" "$(echo $(pybox ps --format '{{.Names}}' | sort))"
is "what does not" "exited exited" "$(echo $(pybox inspect --format '{{.State.Status}}' no stopped))"
is "starts of the one that is always to run" "$BOOT" "$(pybox exec always sh -c 'wc -l </starts')"
# Once at first, and each time here.
pybox start no >/dev/null
awaits 10 eval "[ \"\$(pybox exec no sh -c 'wc -l </starts')\" = $BOOT ]"
pybox stop -t 1 no >/dev/null
is "units of the manager that have failed" "" "$(systemctl --user --failed --no-legend --plain)"
is "whether the store is whole" 0 "$(pybox check >/dev/null 2>&1; echo $?)"
USER
  if [ "$BOOT" = 2 ]; then
    # What a user wrote a while ago is on disk; the rest is lost with the power.
    sync
    reboot_by 'echo b >/proc/sysrq-trigger'
  fi
  ;;
esac
