/*
 * liburcu, as `sternix bench rcu` measures it beside sternix/rcu: compiled for each flavour where a compiler and liburcu are, and run once.
 *
 * Reads lines "OPERATION THREADS ENTRIES MS" from standard input, and answers each with "OPERATIONS NS DELAY": how many operations all
 * threads did, the nanoseconds that they took together, and for how long of that they had no CPU. Operations: `scope` (lock and unlock),
 * `lookup` (cds_lfht, a quiescent state after every 64), `callbacks` (call_rcu of a block that its callback frees).
 *
 * It uses the documented interface of liburcu only: https://liburcu.org, rcu-api.md and cds-api.md.
 */
#define _LGPL_SOURCE /* lock and unlock are inlined: liburcu at its best */
#if defined QSBR
#include <urcu-qsbr.h>
#elif defined MB
#define RCU_MB
#include <urcu.h>
#else
#define RCU_MEMBARRIER
#include <urcu.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <urcu/rculfhash.h>

enum { MAX_THREADS = 256, SEQUENCE = 1 << 18, BATCH = 64, SCOPES = 4096, BACKLOG = 1 << 16 };

struct entry {
  struct cds_lfht_node node;
  unsigned key, value;
};
struct block {
  struct rcu_head head;
};
struct job {
  const char *operation;
  unsigned seed, entries;
  double ms;
  uint64_t operations, ns, delay;
  unsigned sum;
};

static struct cds_lfht *table;
static unsigned table_entries;
static pthread_barrier_t begin;
static unsigned long blocks_freed; /* by the threads of liburcu that run callbacks */

static void quiescent(void) {
#ifdef QSBR
  rcu_quiescent_state();
#endif
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nanoseconds for which this thread could have run and had no CPU (proc(5), schedstat). */
static uint64_t delayed(void) {
  unsigned long long ran, waited = 0;
  FILE *file = fopen("/proc/thread-self/schedstat", "r");
  if (!file) return 0;
  if (fscanf(file, "%llu %llu", &ran, &waited) != 2) waited = 0;
  fclose(file);
  return waited;
}

static unsigned long hash(unsigned key) { return (uint32_t)(key * 0x9e3779b1u); }

static int match(struct cds_lfht_node *node, const void *key) {
  return caa_container_of(node, struct entry, node)->key == *(const unsigned *)key;
}

static unsigned lookup(unsigned key) {
  struct cds_lfht_iter iter;
  rcu_read_lock();
  cds_lfht_lookup(table, hash(key), match, &key, &iter);
  struct cds_lfht_node *node = cds_lfht_iter_get_node(&iter);
  unsigned value = node ? caa_container_of(node, struct entry, node)->value : 0;
  rcu_read_unlock();
  return value;
}

static void fill(unsigned entries) {
  if (table_entries == entries) return;
  table = cds_lfht_new(entries, 1, 0, 0, NULL);
  if (!table) abort();
  for (unsigned key = 0; key < entries; key++) {
    struct entry *entry = malloc(sizeof *entry);
    if (!entry) abort();
    cds_lfht_node_init(&entry->node);
    entry->key = key;
    entry->value = key + 1;
    rcu_read_lock();
    cds_lfht_add(table, hash(key), &entry->node);
    rcu_read_unlock();
  }
  table_entries = entries;
}

static void free_block(struct rcu_head *head) {
  free(caa_container_of(head, struct block, head));
  __atomic_fetch_add(&blocks_freed, 1, __ATOMIC_RELAXED);
}

static uint64_t scopes(uint64_t end) {
  uint64_t operations = 0;
  do {
    for (int n = 0; n < SCOPES; n++) {
      rcu_read_lock();
      cmm_barrier(); /* keeps the loop, where the two are nothing (qsbr): its own round is counted, as it is in JavaScript */
      rcu_read_unlock();
    }
    quiescent();
    operations += SCOPES;
  } while (now() < end);
  return operations;
}

static uint64_t lookups(struct job *job, uint64_t end, const unsigned *keys) {
  uint64_t operations = 0;
  unsigned at = 0, sum = 0;
  do {
    for (int batch = 0; batch < BATCH; batch++) {
      for (int n = 0; n < BATCH; n++) sum ^= lookup(keys[at++ & (SEQUENCE - 1)]);
      quiescent();
    }
    operations += BATCH * BATCH;
  } while (now() < end);
  job->sum = sum;
  return operations;
}

/* As many as are freed meanwhile, with a bounded number of them waiting. */
static uint64_t callbacks(uint64_t end) {
  static unsigned long queued;
  unsigned long before = __atomic_load_n(&blocks_freed, __ATOMIC_RELAXED);
  do {
    for (int n = 0; n < BATCH; n++) {
      struct block *block = malloc(sizeof *block);
      if (!block) abort();
      call_rcu(&block->head, free_block);
      __atomic_fetch_add(&queued, 1, __ATOMIC_RELAXED);
    }
    quiescent();
    while (__atomic_load_n(&queued, __ATOMIC_RELAXED) - __atomic_load_n(&blocks_freed, __ATOMIC_RELAXED) > BACKLOG && now() < end) {
      quiescent();
      sched_yield();
    }
  } while (now() < end);
  return __atomic_load_n(&blocks_freed, __ATOMIC_RELAXED) - before;
}

static void *work(void *arg) {
  struct job *job = arg;
  unsigned *keys = NULL, x = job->seed;
  if (!strcmp(job->operation, "lookup")) {
    keys = malloc(SEQUENCE * sizeof *keys);
    if (!keys) abort();
    for (int n = 0; n < SEQUENCE; n++) {
      x ^= x << 13, x ^= x >> 17, x ^= x << 5;
      keys[n] = (unsigned)(((uint64_t)x * job->entries) >> 32);
    }
  }
  rcu_register_thread();
#ifdef QSBR
  rcu_thread_offline();
#endif
  pthread_barrier_wait(&begin);
#ifdef QSBR
  rcu_thread_online();
#endif
  if (keys) for (int n = 0; n < SEQUENCE / 4; n++) job->sum ^= lookup(keys[n]);
  uint64_t waited = delayed(), start = now(), end = start + (uint64_t)(job->ms * 1e6);
  if (keys) job->operations = lookups(job, end, keys);
  else if (!strcmp(job->operation, "scope")) job->operations = scopes(end);
  else job->operations = callbacks(end);
  job->ns = now() - start;
  job->delay = delayed() - waited;
  rcu_unregister_thread();
  free(keys);
  return NULL;
}

int main(void) {
  char operation[32];
  unsigned threads, entries;
  double ms;
  rcu_register_thread();
  while (scanf("%31s %u %u %lf", operation, &threads, &entries, &ms) == 4 && threads >= 1 && threads <= MAX_THREADS) {
    pthread_t ids[MAX_THREADS];
    struct job jobs[MAX_THREADS];
    if (!strcmp(operation, "lookup")) fill(entries);
#ifdef QSBR
    rcu_thread_offline();
#endif
    pthread_barrier_init(&begin, NULL, threads);
    for (unsigned n = 0; n < threads; n++) {
      jobs[n] = (struct job){.operation = operation, .seed = n + 1, .entries = entries, .ms = ms};
      if (pthread_create(&ids[n], NULL, work, &jobs[n])) abort();
    }
    uint64_t operations = 0, ns = 0, delay = 0;
    int counted_together = !strcmp(operation, "callbacks");
    for (unsigned n = 0; n < threads; n++) {
      pthread_join(ids[n], NULL);
      /* Callbacks are counted by all of them together: the last look counts. */
      if (!counted_together) operations += jobs[n].operations;
      else if (jobs[n].operations > operations) operations = jobs[n].operations;
      ns += jobs[n].ns;
      delay += jobs[n].delay;
    }
    pthread_barrier_destroy(&begin);
    if (counted_together) rcu_barrier();
#ifdef QSBR
    rcu_thread_online();
#endif
    printf("%llu %llu %llu\n", (unsigned long long)operations, (unsigned long long)ns, (unsigned long long)delay);
    fflush(stdout);
  }
  rcu_unregister_thread();
  return 0;
}
