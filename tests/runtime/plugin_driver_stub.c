/* An NVIDIA driver as far as the library asks it anything. -DVERSION=13000 -DCOUNT=1 -DCAPABILITY=90 -DINIT=0 */
int cuInit(unsigned flags) { return (void)flags, INIT; }
int cuDriverGetVersion(int* version) { return *version = VERSION, 0; }
int cuDeviceGetCount(int* count) { return *count = COUNT, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  (void)device;
  return *value = attribute == 75 ? CAPABILITY / 10 : CAPABILITY % 10, 0;
}
int cuGetErrorString(int code, const char** text) { return (void)code, *text = "out of order", 0; }
