#include "guest.h"
/* Threads with pthread's clone flags: futex mutex, join on the cleared tid, LR/SC counters, private tids. */
#define THREADS 4
#define ROUNDS 2000
static u8 stacks[THREADS][16384] __attribute__((aligned(16)));
static int tids[THREADS];
static volatile int lock, guarded;
static int counter;
static i64 tls_seen[THREADS];
static void acquire(void) {
  int free = 0;
  if (__atomic_compare_exchange_n(&lock, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
  while (__atomic_exchange_n(&lock, 2, __ATOMIC_ACQUIRE)) sys(SYS_futex, &lock, FUTEX_WAIT | FUTEX_PRIVATE, 2, 0);
}
static void release(void) {
  if (__atomic_exchange_n(&lock, 0, __ATOMIC_RELEASE) == 2) sys(SYS_futex, &lock, FUTEX_WAKE | FUTEX_PRIVATE, 1);
}
static void body(void *arg) {
  i64 index = (i64)arg, tp;
  __asm__ volatile("mv %0, tp" : "=r"(tp));
  tls_seen[index] = tp;
  for (int i = 0; i < ROUNDS; i++) {
    __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
    acquire();
    guarded++;
    if ((i & 127) == 0) sys(SYS_sched_yield);
    release();
  }
}
int main(int argc, char **argv, char **envp) {
  for (i64 i = 0; i < THREADS; i++) {
    i64 tid = start_thread(PTHREAD_FLAGS, stacks[i] + sizeof stacks[i], &tids[i], (void *)(1000 + i), &tids[i], body,
                           (void *)i);
    if (tid < 0) { print("clone %d\n", tid); return 1; }
  }
  for (int i = 0; i < THREADS; i++)
    for (int tid; (tid = __atomic_load_n(&tids[i], __ATOMIC_ACQUIRE));) sys(SYS_futex, &tids[i], FUTEX_WAIT, tid, 0);
  print("counter %d guarded %d\n", (i64)counter, (i64)guarded);
  i64 tls = 1;
  for (i64 i = 0; i < THREADS; i++) tls &= tls_seen[i] == 1000 + i;
  print("tls %d pid is tid %d\n", tls, (i64)(sys(SYS_getpid) == sys(SYS_gettid)));
  struct timespec t = {0, 10000000};
  int word = 1;
  print("timeout %d\n", sys(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE, 1, &t));
  print("changed %d\n", sys(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE, 2, &t));
  return 0;
}
