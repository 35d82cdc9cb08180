// Just enough JSON to read the library's (well-formed) results, for programs that know only its header.
#pragma once

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

struct Json {
  std::string text;                                   // a string, or a number or literal as written
  std::vector<std::pair<std::string, Json>> members;  // of an object; elements of an array have empty names

  double number() const { return std::strtod(text.c_str(), nullptr); }
  const Json& operator[](const char* name) const {
    static const Json none;
    for (const auto& member : members) {
      if (member.first == name) return member.second;
    }
    return none;
  }

  static Json parse(const std::string& source) {
    const char* p = source.c_str();
    return value(p);
  }

 private:
  static void space(const char*& p) {
    while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r' || *p == ',' || *p == ':') ++p;
  }
  static std::string string(const char*& p) {
    std::string out;
    for (++p; *p != '\0' && *p != '"'; ++p) {
      if (*p == '\\' && p[1] != '\0') ++p;
      out += *p;
    }
    if (*p == '"') ++p;
    return out;
  }
  static Json value(const char*& p) {
    Json json;
    space(p);
    if (*p == '{' || *p == '[') {
      const bool object = *p++ == '{';
      for (space(p); *p != '\0' && *p != '}' && *p != ']'; space(p)) {
        std::string name = object ? string(p) : std::string();
        json.members.emplace_back(std::move(name), value(p));
      }
      if (*p != '\0') ++p;
    } else if (*p == '"') {
      json.text = string(p);
    } else {
      while (*p != '\0' && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n') json.text += *p++;
    }
    return json;
  }
};
