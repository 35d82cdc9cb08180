/* A backend module with one device and no kernels, compiled by plugin_stub.py against ggml's own headers.
 * -DBACKEND="CUDA", -DDEVICES=1, -DNEEDS (wants a function of libneeded.so). */
#include <string.h>

#include "ggml-backend-impl.h"

#ifdef NEEDS
int needed(void);
#else
static int needed(void) { return 0; }
#endif

static const char* device_name(ggml_backend_dev_t device) { return (void)device, BACKEND "0"; }
static const char* device_description(ggml_backend_dev_t device) { return (void)device, "stub device"; }
static enum ggml_backend_dev_type device_type(ggml_backend_dev_t device) {
  return (void)device, GGML_BACKEND_DEVICE_TYPE_GPU;
}
static void device_props(ggml_backend_dev_t device, struct ggml_backend_dev_props* props) {
  props->name = device_name(device);
  props->description = device_description(device);
  props->type = device_type(device);
  props->memory_free = 1 << 20;
  props->memory_total = 2 << 20;
}

static const char* reg_name(ggml_backend_reg_t reg) { return (void)reg, BACKEND; }
static size_t reg_count(ggml_backend_reg_t reg) { return (void)reg, DEVICES; }
static ggml_backend_dev_t reg_device(ggml_backend_reg_t reg, size_t index) {
  static struct ggml_backend_device device;
  (void)index;
  device.iface.get_name = device_name;
  device.iface.get_description = device_description;
  device.iface.get_type = device_type;
  device.iface.get_props = device_props;
  device.reg = reg;
  return &device;
}

__attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init(void);
ggml_backend_reg_t ggml_backend_init(void) {
  static struct ggml_backend_reg reg;
  if (needed() != 0) return NULL;
  reg.api_version = GGML_BACKEND_API_VERSION;
  reg.iface.get_name = reg_name;
  reg.iface.get_device_count = reg_count;
  reg.iface.get_device = reg_device;
  return &reg;
}
