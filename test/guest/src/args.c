#include "guest.h"
/* Prints argv, the environment, and what the auxiliary vector promises. */
int main(int argc, char **argv, char **envp) {
  for (int i = 0; i < argc; i++) print("argv[%d]=%s\n", (i64)i, i ? argv[i] : "(program)");
  print("argv ends %d\n", (i64)(argv[argc] == NULL));
  char **e = envp;
  for (; *e; e++)
    if ((*e)[0] == 'G' && (*e)[1] == 'U') print("env %s\n", *e);
  u64 *aux = (u64 *)(e + 1), phdr = 0, random = 0, entry = 0, execfn = 0;
  for (; aux[0]; aux += 2) {
    if (aux[0] == 3) phdr = aux[1];
    if (aux[0] == 4) print("AT_PHENT %d\n", aux[1]);
    if (aux[0] == 6) print("AT_PAGESZ %d\n", aux[1]);
    if (aux[0] == 9) entry = aux[1];
    if (aux[0] == 17) print("AT_CLKTCK %d\n", aux[1]);
    if (aux[0] == 23) print("AT_SECURE %d\n", aux[1]);
    if (aux[0] == 25) random = aux[1];
    if (aux[0] == 31) execfn = aux[1];
  }
  extern char _start[];
  print("AT_PHDR type %d\n", phdr ? (i64)(*(u32 *)phdr == 1 || *(u32 *)phdr == 6 || *(u32 *)phdr == 0x70000003) : -1);
  print("AT_ENTRY %d AT_RANDOM %d AT_EXECFN %d\n", (i64)(entry == (u64)_start),
        (i64)(random && (((u64 *)random)[0] | ((u64 *)random)[1])), (i64)(execfn && *(char *)execfn));
  print("stack aligned %d\n", (i64)(((u64)(argv - 1) & 15) == 0));
  return 0;
}
