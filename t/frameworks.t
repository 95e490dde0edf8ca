#!/usr/bin/env perl

# docs/frameworks.md: its components in Chromium. If this fails, a component does
# not show what is so, sends nothing, is a member for ever, or is seen to leave and
# join because its framework mounts it twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Tabs;


my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_CLIENT_MODULES} || "$root/build/client/node_modules";
my $text    = Fanout::Nginx::slurp("$root/docs/frameworks.md");
my ($conf)  = $text =~ /^```nginx http\n(.*?)^```/ms;

-d "$modules/react" or die "no $modules/react: t/tools/deps client\n";

my $nginx = Fanout::Nginx->start(
    http   => $conf =~ s/^server \{.*//msr,
    server => ($conf =~ /(^    location .*)^\}/ms)[0] . <<'END',
        location /fanout { fanout_api app public; }
        location /page/ {
            default_type text/html;
            add_header Set-Cookie "user=$arg_user; Path=/";
            return 200 '<!doctype html><title>x</title><link rel=icon href=data:,><main></main><script src=/script$uri.js></script>';
        }
        location /script/ { alias %%DIR%%/script/; }
END
);

my $tabs = Fanout::Tabs->start;

mkdir $nginx->dir . '/script' or die;
mkdir $nginx->dir . '/script/page' or die;


sub bundle {
    my ($name, $suffix) = @_;

    my $dir  = $nginx->dir;
    my $file = "$dir/component.$suffix";

    for ([ $suffix => $file ], [ 'js hub' => "$dir/hub.js" ]) {
        my ($info, $path) = @$_;
        my ($code) = $text =~ /^```$info\n(.*?)^```/ms or die "no $info";

        open my $f, '>', $path or die $!;
        print $f $code;
        close $f;
    }

    local $ENV{CLIENT_MODULES} = $modules;

    my $said = `node $root/t/client/frameworks.js $name $file \\
                $dir/script/page/$name.js 2>&1`;

    is($said, '', 'is built');
}


sub shows {
    my ($tab, $code, $want, $name) = @_;

    my $got;

    ok(wait_for(sub {
        $got = $tabs->evaluate($tab, $code) // '';
        return $got eq $want;
    }), $name) or diag("\"$got\" instead of \"$want\"");
}


sub items { q{[...document.querySelectorAll("li")].map((e) => e.innerText).join()} }
sub title { q{document.querySelector("#title").value} }
sub here  { q{document.querySelector("#here").textContent} }


for (['react', 'jsx'], ['vue', 'vue'], ['svelte', 'svelte']) {
    my ($name, $suffix) = @$_;

    subtest $name => sub {
        my $http = $nginx->http;
        my $me   = "ann-$name";         # the one before may still leave

        $http->delete('/fanout/channels/room:1');
        bundle($name, $suffix);
        $http->post('/fanout/channels/room:1/messages', '"before"');
        $http->request('PUT', '/fanout/channels/table:1/records/plan',
                       body => '{"title":"Plan"}');

        my $bob = $nginx->native(path => '/realtime',
                                 headers => { Cookie => "user=bob" });

        $bob->ok('join', channel => 'room:1', presence => {});
        $bob->ok('join', channel => 'table:1');

        $tabs->open('ann', $nginx->uri("/page/$name?user=$me"));

        shows('ann', here(), "$me bob", 'members');
        shows('ann', items(), 'before', 'the history');
        shows('ann', title(), 'Plan', 'a record');

        $http->post('/fanout/channels/room:1/messages', '"now"');
        shows('ann', items(), 'before,now', 'a message');
        $bob->ok('set', channel => 'table:1', record => 'plan',
                 set => { title => 'New plan' });
        shows('ann', title(), 'New plan', 'a change of the record');

        $tabs->fill('ann', '[name=text]', 'hello');
        $tabs->press('ann', '[name=text]', 'Enter');
        shows('ann', items(), 'before,now,hello', 'what it sends');
        $tabs->fill('ann', '#title', 'Mine');
        shows('ann', title(), 'Mine', 'what it sets');
        ok(wait_for(sub {
            my $r = $http->get('/fanout/channels/table:1/records/plan');
            return $r->{body} =~ /"Mine"/;
        }), 'is set');

        my @told;
        my $pump = sub {
            while (my $f = $bob->next_push(0.05)) {
                my $p = $f->{presence} or next;
                push @told, map({ "+$_->{user}" } @{ $p->{joined} || [] }),
                            map({ "-$_->{user}" } @{ $p->{left} || [] });
                @told = grep { /$me/ } @told;
            }
            return "@told";
        };

        $pump->();
        is("@told", "+$me", 'joins once, and is not seen to leave');
        $tabs->evaluate('ann', 'void window.there(false)');
        ok(wait_for(sub { $pump->() eq "+$me -$me" }),
           'it leaves when it is unmounted') or diag("@told");
        $tabs->evaluate('ann', 'void window.there(true)');
        ok(wait_for(sub { $pump->() eq "+$me -$me +$me" }),
           'joins once when it is mounted again') or diag("@told");
        shows('ann', items(), 'before,now,hello', 'and shows the history');
        $tabs->evaluate('ann', 'void (window.there(false),'
                               . ' setTimeout(() => window.there(true), 50))');
        shows('ann', 'document.querySelectorAll("li").length + ""', '3',
              'a part that is drawn anew');
        $http->post('/fanout/channels/room:1/messages', '"end"');
        shows('ann', items(), 'before,now,hello,end', 'goes on');
        $pump->();
        is("@told", "+$me -$me +$me", 'and nobody has seen it leave');
        is_deeply($tabs->errors('ann'), [], 'the console is quiet');
        $tabs->close('ann');
        $bob->close;
    };
}
