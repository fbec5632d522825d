#include "guest.h"
/* The smallest thing that works: one write, one exit. */
int main(int argc, char **argv, char **envp) {
  print("hello from riscv64\n");
  return 0;
}
