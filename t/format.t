#!/usr/bin/env perl

# The style of the tree: if this fails, a change looks different from what is
# around it, or t/tools/format no longer finds what does.

use strict;
use warnings;

use File::Copy qw( copy );
use File::Path qw( make_path );
use File::Temp qw( tempdir );
use FindBin;
use Test::More;

my $root = "$FindBin::Bin/..";
my $said = `$root/t/tools/format 2>&1`;

ok($? == 0, 'the tree is in style, but for what t/tools/format lists')
    or diag($said);


# a tree of its own, with the tool and without its list

my $dir = tempdir(CLEANUP => 1);

make_path("$dir/t/tools", "$dir/src/room");

{
    open my $from, '<', "$root/t/tools/format" or die $!;
    my $tool = do { local $/; <$from> };

    $tool =~ s/^__DATA__\n.*/__DATA__\n/ms or die 'no list in t/tools/format';
    write_file('t/tools/format', $tool);
}


sub write_file {
    my ($name, $text) = @_;

    open my $f, '>', "$dir/$name" or die "$dir/$name: $!";
    print $f $text;
    close $f or die "$dir/$name: $!";
}


sub format_of {
    my ($name, $text) = @_;

    write_file($name, $text);
    my $said = `perl $dir/t/tools/format 2>&1`;
    unlink "$dir/$name";

    return $said;
}


sub function {
    my ($body) = @_;

    return "static int\nfind(int a,\n    int b)\n{\n$body\n    return a;\n}\n";
}


subtest 'right' => sub {
    my %right = (
        'columns'    => '/* ' . 'x' x 74 . " */\n",
        'UTF-8'      => '/* ' . "\xc3\xa9" x 74 . " */\n",
        'an address' => "static char  url[] = \"http://a\";  /* https:// */\n",
        'a function' => function("    call();\n" x 93),
        'one type'   => function("    int  n;\n"),
        'stars'      => function("    int       n;\n    size_t   *p, **q;\n"
                                 . "    uint64_t  u;\n"),
        'paragraphs' => function("    size_t           n;\n\n    int              a;\n"
                                 . "    unsigned         u;\n"
                                 . "    static uint32_t  t[2];\n"),
        'values'     => function("    int         a = 1;\n"
                                 . "    char       *s = call(a,\n"
                                 . "                         2);\n"
                                 . "    struct tm   b;\n"),
        '#if'        => function("    int   n;\n#if (X)\n    long  m;\n#endif\n"),
        'statements' => function("    int  n;\n\n    n = 1;\n    a += n;\n"),
    );

    for my $name (sort keys %right) {
        is(format_of('src/room/a.c', $right{$name}), '', $name);
    }
};


subtest 'wrong' => sub {
    my @wrong = (
        [ 'a tab',          'a tab',            "int\ta;\n"                   ],
        [ 'trailing space', 'trailing space',   "int  a; \n"                  ],
        [ 'CR',             'trailing space',   "int  a;\r\n"                 ],
        [ 'no newline',     'no newline',       'int  a;'                     ],
        [ 'columns',        '81 columns',       '/* ' . 'x' x 75 . " */\n"    ],
        [ '// comment',     'a // comment',     "int  a;  // b\n"             ],
        [ 'lines',          '801 lines',        "int  a;\n" x 801             ],
        [ 'a function',     'find: 101 lines',  function("    call();\n" x 95) ],
        [ 'order',          'find: .* sorted',
          function("    size_t  n;\n    int     a;\n") ],
        [ 'column',         'find: .* one column',
          function("    int   n;\n    size_t  a;\n") ],
        [ 'one space',      'find: one space',  function("    int n;\n")      ],
        [ 'spaces',         'find: too many',   function("    int     n;\n")  ],
    );

    for (@wrong) {
        my ($name, $want, $text) = @$_;

        like(format_of('src/room/a.c', $text),
             qr{^src/room/a\.c:\d+: (?:$want)[^\n]*\n\z}, $name);
    }

    my $many = sub {
        my ($lines) = @_;
        my $body = "    call();\n" x ($lines - 6);

        format_of('src/room/a.c',
                  join '', map { "static int\nf$_(int a)\n{\n$body\n"
                                 . "    return a;\n}\n" } 1 .. 34);
    };

    write_file("src/room/b$_.c", "static int\ng$_(int a)\n{\n"
                                 . "    call();\n" x 17 . "}\n") for 1 .. 80;

    is($many->(20), '', 'many functions of 20 lines');
    write_file("src/room/b$_.c", "static int\ng$_(int a)\n{\n"
                                 . "    call();\n" x 18 . "}\n") for 1 .. 80;
    like($many->(20), qr{^src: half of the functions have 21 lines or more$},
         'and of 21');
    unlink "$dir/src/room/b$_.c" for 1 .. 80;

    like(format_of('t/a.t', "1;  \n"), qr{^t/a\.t:1: trailing space$},
         'a file that is not C');
};


subtest 'the list' => sub {
    open my $f, '>>', "$dir/t/tools/format" or die $!;
    print $f "lines src/room/a.c\ndeclarations find\n";
    close $f;

    my $long = function("    int n;\n") . "\n" x 800;

    is(format_of('src/room/a.c', $long), '', 'what it has is excused');

    like(format_of('src/room/a.c', function("    int n;\n")),
         qr{^t/tools/format: "lines src/room/a\.c" is listed, 0 are there$},
         'what it has and is fine is a mistake');

    like(format_of('src/room/a.c', $long . function("    int n;\n")),
         qr{^src/room/a\.c:\d+: find: one space}, 'and so is one more');
};


SKIP: {
    skip 'no clang-format here', 1
        if system 'which clang-format > /dev/null 2>&1';

    write_file('src/room/a.c', function("    a++;\n"));
    copy("$root/.clang-format", "$dir/.clang-format") or die $!;

    my $out = `cd $dir && clang-format --style=file src/room/a.c 2>&1`;

    is($out, function("    a++;\n") =~ s/,\n +/, /r,
       'clang-format takes .clang-format');
}

done_testing();
