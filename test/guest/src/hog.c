#include "guest.h"
/* hog MIB: maps so much at once and touches it. hog: maps and touches a MiB at a time until that fails. */
static i64 touch(i64 size) {
  volatile u8 *memory = (u8 *)sys(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if ((i64)memory < 0 && (i64)memory > -4096) return (i64)memory;
  for (i64 i = 0; i < size; i += 4096) memory[i] = 1;
  return 0;
}
int main(int argc, char **argv, char **envp) {
  i64 error = 0;
  if (argc > 1) error = touch(atoi(argv[1]) << 20);
  else
    while (error == 0) error = touch(1 << 20);
  print("mmap %d\n", error);
  return error < 0;
}
