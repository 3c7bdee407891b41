# Ends the script of each job. A signal that submitit does not answer ends the run: SIGTERM as at pre-emption, SIGUSR1,
# and SIGUSR2 before Python can answer. The job is then requeued here, and the run goes on from its last epoch. SIGTERM
# also comes with scancel and with Slurm's own requeueing: then Slurm does not call the job running any more, and
# requeueing it would undo the former. The job is not named by SLURM_JOB_ID: for one job of an array that is the array,
# and all of it would start again, cancelled or not.
code=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}
case $code in 138 | 140 | 143)  # 128 and SIGUSR1, SIGUSR2 and SIGTERM
  state=$(squeue --noheader --jobs=$job --format=%T)
  echo "SIG$(kill -l $code) while Slurm calls the job ${state:-unknown}"
  [ "$state" != RUNNING ] || scontrol requeue $job ;;
esac
exit $code
