/* The functions of the NVIDIA driver (libcuda.so.1) that ggml-cuda calls, to link against where no driver is installed.
 * Never run, never installed. One that is missing here is a link error (--no-undefined, cmake/Cuda.cmake). */
#define STUB(name) \
  void name(void); \
  void name(void) {}

STUB(cuDeviceGet)
STUB(cuDeviceGetAttribute)
STUB(cuGetErrorString)
STUB(cuMemAddressFree)
STUB(cuMemAddressReserve)
STUB(cuMemCreate)
STUB(cuMemGetAllocationGranularity)
STUB(cuMemMap)
STUB(cuMemRelease)
STUB(cuMemSetAccess)
STUB(cuMemUnmap)
