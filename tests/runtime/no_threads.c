/* Preloaded: once NOTHREADS is set, what pthread_create answers where a limit on threads is reached. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

typedef int (*create)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) {
  const char* left = getenv("NOTHREADS");
  static int given;
  if (left != NULL && given++ >= atoi(left)) return EAGAIN;
  return ((create)dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, run, argument);
}
