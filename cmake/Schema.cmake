# Generated code of the IR: C++ headers and a one-file Python module. Defines the target executorch_ggml_schema.

set(schema "${PROJECT_SOURCE_DIR}/schema/ggml_ir.fbs")
set(EXECUTORCH_GGML_GENERATED_DIR "${PROJECT_BINARY_DIR}/generated")
set(generated_header "${EXECUTORCH_GGML_GENERATED_DIR}/ggml_ir_generated.h")
set(EXECUTORCH_GGML_GENERATED_PYTHON "${EXECUTORCH_GGML_GENERATED_DIR}/_ggml_ir.py")

add_custom_command(
  OUTPUT "${generated_header}"
  COMMAND "${EXECUTORCH_GGML_FLATC}" --cpp -o "${EXECUTORCH_GGML_GENERATED_DIR}" "${schema}"
  DEPENDS "${schema}" VERBATIM COMMENT "flatc: ggml_ir_generated.h")

# The facts about operators, which flatc reads over.
set(operators_header "${EXECUTORCH_GGML_GENERATED_DIR}/ggml_ir_operators.h")
set(operators_script "${PROJECT_SOURCE_DIR}/cmake/ir_operators.py")
add_custom_command(
  OUTPUT "${operators_header}"
  COMMAND "${Python3_EXECUTABLE}" "${operators_script}" "${schema}" "${operators_header}"
  DEPENDS "${schema}" "${operators_script}" VERBATIM COMMENT "ir_operators.py: ggml_ir_operators.h")

# flatc 2.0.8 names the Python file after the schema; older readers of the tree need no flatc of their own.
set(python_commands)
if(EXECUTORCH_GGML_PYTHON_IN_TREE)
  set(python_commands COMMAND "${CMAKE_COMMAND}" -E copy_if_different "${EXECUTORCH_GGML_GENERATED_PYTHON}" "${PROJECT_SOURCE_DIR}/executorch_ggml/ir/_ggml_ir.py")
  file(MAKE_DIRECTORY "${PROJECT_SOURCE_DIR}/executorch_ggml")
endif()
# Read by C++ alone.
set(ptd_schema "${PROJECT_SOURCE_DIR}/schema/ptd.fbs")
set(ptd_header "${EXECUTORCH_GGML_GENERATED_DIR}/ptd_generated.h")
add_custom_command(
  OUTPUT "${ptd_header}"
  COMMAND "${EXECUTORCH_GGML_FLATC}" --cpp -o "${EXECUTORCH_GGML_GENERATED_DIR}" "${ptd_schema}"
  DEPENDS "${ptd_schema}" VERBATIM COMMENT "flatc: ptd_generated.h")

add_custom_command(
  OUTPUT "${EXECUTORCH_GGML_GENERATED_PYTHON}"
  COMMAND "${EXECUTORCH_GGML_FLATC}" --python --gen-object-api --gen-onefile -o "${EXECUTORCH_GGML_GENERATED_DIR}" "${schema}"
  COMMAND "${CMAKE_COMMAND}" -E rename "${EXECUTORCH_GGML_GENERATED_DIR}/ggml_ir_generated.py" "${EXECUTORCH_GGML_GENERATED_PYTHON}"
  COMMAND "${Python3_EXECUTABLE}" "${operators_script}" --python "${schema}" "${EXECUTORCH_GGML_GENERATED_PYTHON}"
  ${python_commands}
  DEPENDS "${schema}" "${operators_script}" VERBATIM COMMENT "flatc: _ggml_ir.py")

add_custom_target(executorch_ggml_schema ALL DEPENDS "${generated_header}" "${operators_header}" "${ptd_header}" "${EXECUTORCH_GGML_GENERATED_PYTHON}")
