#include "guest.h"
/* exit CODE: ends with that status. */
int main(int argc, char **argv, char **envp) { return argc > 1 ? (int)atoi(argv[1]) : 0; }
